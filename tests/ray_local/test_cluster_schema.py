"""What `sweep cluster` writes is what Ray accepts, and what the clouds and Kubernetes take from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import requires, version
from importlib.resources import files
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.scripts.scripts import drain_node

from sweep.cluster import MACHINES, USUAL, Need, Provider, need_of
from sweep.cluster_names import RAY_VERSION
from sweep.cluster_text import cluster_text
from sweep.notice import drain_words
from sweep.presets import lab

NEEDS = {
    "usual": USUAL,
    "lab": need_of(lab()),
    "four_gpus": replace(USUAL, workers=4),
    "wide": replace(USUAL, workers=8, gpus_per_worker=4.0),
    "named": replace(USUAL, accelerator="A100"),
}
LAUNCHED = [
    (provider, name)
    for provider in (Provider.AWS, Provider.GCP, Provider.LOCAL)
    for name in NEEDS
    if (provider, name) != (Provider.AWS, "named")  # AWS rents no machine with one A100
]


def read(provider: Provider, need: Need) -> dict:
    return yaml.safe_load(cluster_text(need, provider))


@pytest.mark.parametrize(("provider", "name"), LAUNCHED)
def test_rays_launcher_accepts_the_configuration(provider, name):
    config = prepare_config(read(provider, NEEDS[name]))
    validate_config(config)
    if provider is not Provider.LOCAL:
        types = config["available_node_types"]
        assert types["head"]["resources"] == {"CPU": 0}
        assert types["spot"]["min_workers"] == 0 < types["spot"]["max_workers"]
        assert types["spot"]["priority"] > types["on_demand"]["priority"]
        assert config["max_workers"] >= types["spot"]["max_workers"]


def test_a_misspelled_key_is_no_configuration():
    config = prepare_config(read(Provider.AWS, USUAL))
    with pytest.raises(Exception, match="idle_minutes"):
        validate_config(config | {"idle_minutes": 5})


@pytest.mark.parametrize("name", list(NEEDS))
def test_rays_kubernetes_autoscaler_reads_the_manifest(name):
    need = NEEDS[name]
    derived = _derive_autoscaling_config_from_ray_cr(read(Provider.KUBERAY, need))
    (group,) = [kind for kind in derived["available_node_types"] if kind != "headgroup"]
    offered = derived["available_node_types"][group]
    assert derived["available_node_types"]["headgroup"]["resources"]["CPU"] == 0
    assert offered["max_workers"] * offered["resources"].get("GPU", 0) >= need.gangs * need.gpus_per_gang
    assert ("accelerator_type:A100" in offered["resources"]) == (name == "named")


@pytest.mark.parametrize("name", list(NEEDS))
def test_pods_that_claim_a_gpu_are_started_only_where_a_label_says_so(name):
    (group,) = read(Provider.KUBERAY, NEEDS[name])["spec"]["workerGroupSpecs"]
    chosen = group["template"]["spec"].get("nodeSelector", {})
    assert bool(chosen) == ("resources" in group) == (name == "named")
    # Kubernetes takes texts alone, and no machine has this one before somebody has changed it.
    assert all(isinstance(label, str) and label.startswith("CHANGE-ME") for label in chosen.values())


# What each machine is asked of its cloud, by the cloud's own description of the request


@pytest.mark.parametrize("name", [name for provider, name in LAUNCHED if provider is Provider.AWS])
def test_amazon_knows_every_word_of_each_machine(name):
    run_instances = amazons_request()
    for kind in read(Provider.AWS, NEEDS[name])["available_node_types"].values():
        assert amazons_faults(run_instances, kind["node_config"]) == ""
    assert "Ebbs" in amazons_faults(run_instances, {"BlockDeviceMappings": [{"Ebbs": {}}]})


def amazons_request() -> Any:
    return _amazon().operation_model("RunInstances").input_shape


def _amazon() -> Any:
    import botocore.session

    return botocore.session.get_session().get_service_model("ec2")


def test_amazon_knows_every_machine_by_its_name():
    assert {machine.name for machine in MACHINES[Provider.AWS]} <= set(_amazon().shape_for("InstanceType").enum)


def amazons_faults(run_instances: Any, node_config: dict) -> str:
    from botocore.validate import ParamValidator

    counted = {"MinCount": 1, "MaxCount": 1, **node_config}  # Ray adds how many
    return ParamValidator().validate(counted, run_instances).generate_report()


@pytest.mark.parametrize("name", [name for provider, name in LAUNCHED if provider is Provider.GCP])
def test_google_knows_every_word_of_each_machine(name):
    schemas = googles_schemas()
    types = read(Provider.GCP, NEEDS[name])["available_node_types"]
    for kind in types.values():
        assert list(googles_faults(schemas, {"$ref": "Instance"}, kind["node_config"])) == []
    wrong = {"scheduling": [{"preemptible": True}], "disks": [{"type": "BIG"}], "serviceAccount": {}}
    assert len(list(googles_faults(schemas, {"$ref": "Instance"}, wrong))) == 3


def googles_schemas() -> dict[str, Any]:
    pytest.importorskip("googleapiclient", reason="Google's description of its requests comes with the test extra")
    place = files("googleapiclient") / "discovery_cache/documents/compute.v1.json"
    return json.loads(place.read_text())["schemas"]


def googles_faults(schemas: dict[str, Any], schema: dict[str, Any], value: Any, at: str = "") -> Iterator[str]:
    """What of a value is not as a discovery document says."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kinds = {"object": dict, "array": list, "string": str | int, "boolean": bool, "integer": int}
    if not isinstance(value, kinds[schema["type"]]) or ("enum" in schema and value not in schema["enum"]):
        yield f"{at}: {value!r}"
    elif isinstance(value, list):
        for item in value:
            yield from googles_faults(schemas, schema["items"], item, at)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in schema["properties"]:
                yield from googles_faults(schemas, schema["properties"][name], item, f"{at}.{name}")
            else:
                yield f"{at}.{name}"


@pytest.mark.parametrize("provider", [Provider.AWS, Provider.GCP])
def test_every_worker_may_use_the_bucket_and_none_may_start_machines(provider):
    for name, kind in read(provider, USUAL)["available_node_types"].items():
        if name != "head":
            text = json.dumps(kind["node_config"])
            assert "transfer-sweep-worker" in text and "transfer-sweep-head" not in text


def test_ray_takes_the_words_that_drain_a_node():
    words = drain_words("10.0.0.1:6379", "a1", 119.7)
    context = drain_node.make_context("drain-node", words[1:])
    assert (words[0], drain_node.name) == ("drain-node", "drain-node")
    assert (context.params["node_id"], context.params["deadline_remaining_seconds"]) == ("a1", 119)


# Kubernetes

#: What KubeRay 1.6 knows, by where it stands, as its types say; of pods, which are Kubernetes' own, what is in use.
KUBERAY = {
    "": {"apiVersion", "kind", "metadata", "spec"},
    "metadata": {"name", "namespace"},
    "spec": {"rayVersion", "authOptions", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec"}
    | {"workerGroupSpecs"},
    "spec.authOptions": {"mode", "secretName"},
    "spec.autoscalerOptions": {"version", "idleTimeoutSeconds", "upscalingMode", "resources", "env"},
    "spec.headGroupSpec": {"rayStartParams", "template", "resources", "labels", "serviceType"},
    "spec.workerGroupSpecs": {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    | {"resources", "labels", "idleTimeoutSeconds", "numOfHosts"},
}
POD = {
    "template": {"spec"},
    "template.spec": {"containers", "nodeSelector"},
    "template.spec.containers": {"name", "image", "env", "resources"},
    "template.spec.containers.resources": {"limits", "requests"},
    "template.spec.containers.resources.limits": {"cpu", "memory", "nvidia.com/gpu"},
    "template.spec.containers.resources.requests": {"cpu", "memory", "nvidia.com/gpu"},
}
ALLOWED = KUBERAY | {
    f"spec.{group}.{at}": keys for group in ("headGroupSpec", "workerGroupSpecs") for at, keys in POD.items()
}

#: Words and numbers of one's own: Ray's options by their names, resources by theirs.
FREE = {"spec.headGroupSpec.rayStartParams", "spec.workerGroupSpecs.rayStartParams", "spec.workerGroupSpecs.resources"}
FREE |= {"spec.workerGroupSpecs.template.spec.nodeSelector"}


def unknown(value: Any, at: str = "") -> Iterator[str]:
    """The keys of a manifest that KubeRay does not know."""
    if isinstance(value, list):
        for item in value:
            yield from unknown(item, at)
    elif isinstance(value, dict) and at not in FREE:
        for name, item in value.items():
            place = f"{at}.{name}".lstrip(".")
            yield from unknown(item, place) if name in ALLOWED[at] else [place]


@pytest.mark.parametrize("name", list(NEEDS))
def test_kuberay_knows_every_word_of_the_manifest(name):
    manifest = read(Provider.KUBERAY, NEEDS[name])
    assert list(unknown(manifest)) == []
    manifest["spec"]["workerGroupSpecs"][0]["maxReplica"] = 1
    assert list(unknown(manifest)) == ["spec.workerGroupSpecs.maxReplica"]


def test_every_container_has_the_token_the_autoscalers_too():
    text = cluster_text(USUAL, Provider.KUBERAY)
    options = yaml.safe_load(text)["spec"]["authOptions"]
    assert options["mode"] == "token"
    # KubeRay reads this key of the secret, and knows `secretName` from this version on.
    assert f"generic {options['secretName']} --from-file=auth_token=" in text
    assert "KubeRay 1.6.0 or newer" in text


@pytest.mark.parametrize("name", list(NEEDS))
def test_no_pod_asks_for_more_gpus_than_a_machine_has(name):
    need = NEEDS[name]
    (group,) = read(Provider.KUBERAY, need)["spec"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    gpus = container["resources"]["limits"].get("nvidia.com/gpu", 0)
    assert gpus <= 8
    assert gpus * group["maxReplicas"] >= need.gangs * need.gpus_per_gang


def test_the_pinned_ray_is_the_one_of_the_project():
    asked = [text for text in requires("transfer-sweep") or () if text.startswith("ray[")]
    assert version("ray") == RAY_VERSION
    assert any(f"=={RAY_VERSION.rsplit('.', 1)[0]}.*" in text for text in asked)
