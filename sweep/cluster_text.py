"""Cluster configurations as text, every value with its reason; decides no size and starts nothing."""

from __future__ import annotations

import math
import textwrap

from sweep.cluster import Fleet, Machine, Need, Provider, fleet, head_gigabytes, head_machine
from sweep.cluster_names import USUAL_NAMES, Names, command_in_yaml, in_shell, in_yaml
from trainables.faults import refuse

#: The first KubeRay operator that takes the token from a secret that one names; resources of a group came before it.
KUBERAY_VERSION = "1.6.0"

#: The secret of the cluster's token on Kubernetes; KubeRay reads its key `auth_token`.
_SECRET = "transfer-sweep-token"

#: The most GPUs that a machine on Kubernetes is taken to have.
_GPUS_PER_MACHINE = 8


def cluster_text(need: Need, provider: Provider, names: Names = USUAL_NAMES) -> str:
    """The configuration for `ray up`, or for `kubectl apply` on Kubernetes.

    Raises:
        Invalid: where the provider has no machine that is large enough, or cannot take a name.
    """
    refuse(f"the configuration of a cluster on {provider}", names.faults(provider))
    if provider is Provider.LOCAL:
        return _local(need, names)
    if provider is Provider.KUBERAY:
        return _kuberay(need, names)
    sized = fleet(need, provider)
    return _aws(sized, names) if provider is Provider.AWS else _gcp(sized, names)


# Rented machines


def _aws(sized: Fleet, names: Names) -> str:
    def worker(name: str, market: str, why: str, priority: int, most: int) -> str:
        storage = _disk_gigabytes(sized.machine)
        image = _AWS_NVIDIA if sized.machine.gpus else _AWS_UBUNTU
        return _block(
            f"""
            {name}:
              # {why}
              node_config:
                InstanceType: {sized.machine.name}  # {_machine_words(sized)}
                # {"NVIDIA's driver and nothing else; CUDA comes with torch" if sized.machine.gpus else "Plain Ubuntu"}
                ImageId: {image}
                {market}IamInstanceProfile:  # lets the machine read and write the storage bucket; see README.md
                  Name: transfer-sweep-worker
                BlockDeviceMappings:
                  - DeviceName: /dev/sda1  # where the image has its root
                    Ebs: {{VolumeSize: {storage}, VolumeType: gp3}}  # room for the environment and for stages fetched
              # What gangs can ask for: Ray knows it before it has rented one.
              resources: {_resources(sized)}
              min_workers: 0  # nothing is rented while no work waits
              max_workers: {most}  # {_count_words(sized, most)}
              priority: {priority}  # {_priority_words(priority)}
            """
        )

    spot = worker(
        "spot",
        "InstanceMarketOptions: {MarketType: spot}  # a fraction of the full price\n                ",
        "Spot machines may vanish with two minutes' notice, in which gangs save and leave.",
        10,
        sized.nodes,
    )
    head = head_machine(sized.need, Provider.AWS)
    region, user = in_yaml(names.region or "us-east-1"), in_yaml(names.ssh_user or "ubuntu")
    fallback = worker(
        "on_demand",
        "",
        "The same machine at the full price: used only where the spot market has none, since its priority is lower.",
        0,
        max(1, sized.nodes // 4),
    )
    return "\n".join(
        [
            _head_comment(sized.need, Provider.AWS),
            f"cluster_name: {in_yaml(names.cluster)}  # `ray up` of another name is another cluster",
            _limits(sized.nodes + max(1, sized.nodes // 4)),
            _block(
                f"""
                provider:
                  type: aws  # the account is that of the credentials on this machine
                  region: {region}  # the bucket's region, or every checkpoint pays for its way
                  cache_stopped_nodes: false  # stopped machines keep paying for their disks
                  # Ray opens port 22 to every address; a group of yours that has rules is left as it is:
                  # security_group: {{GroupName: NAME}}
                """
            ),
            "auth:",
            f"  ssh_user: {user}  # of the images below; Ray makes the key and opens port 22",
            "",
            "available_node_types:",
            _indent(
                _block(
                    f"""
                    head:
                      # Holds the dispatcher, the trials and the dashboard, and trains nothing. On demand: its loss
                      # stops the sweep (nothing is lost; `sweep submit` again goes on).
                      node_config:
                        InstanceType: {head.name}  # {_head_words(sized.need, head)}
                        # Plain Ubuntu
                        ImageId: {_AWS_UBUNTU}
                        IamInstanceProfile:
                          Name: transfer-sweep-head  # starts and ends workers, and uses the bucket; see README.md
                        BlockDeviceMappings:
                          - DeviceName: /dev/sda1  # where the image has its root
                            Ebs: {{VolumeSize: 60, VolumeType: gp3}}  # the environment, and Ray's logs
                      resources: {{CPU: 0}}  # no gang is ever placed here
                      min_workers: 0  # `ray up` starts the one there is
                      max_workers: 0  # and no other
                    """
                )
            ),
            _indent(spot),
            _indent(fallback),
            "head_node_type: head  # of the types above",
            "",
            _synced(names),
            _commands(names, head={"SWEEP_EXTRAS": "aws"}, worker={"SWEEP_SPOT": "aws"}),
        ]
    )


_AWS_NVIDIA = "resolve:ssm:/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id"
_AWS_UBUNTU = "resolve:ssm:/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id"


def _gcp(sized: Fleet, names: Names) -> str:
    region = names.region or "us-central1"

    def node(machine: str, why: str, *, image: str, disk: int, room: str, scheduling: str, account: str = "") -> str:
        return _block(
            f"""
            node_config:
              machineType: {machine}  # {why}
              disks:
                - boot: true  # the only disk
                  autoDelete: true  # the disk goes with the machine
                  type: PERSISTENT  # the kind that a machine can start from
                  initializeParams:
                    diskSizeGb: {disk}  # {room}
                    # {"NVIDIA's driver; CUDA comes with torch" if "cu1" in image else "Plain Ubuntu"}
                    sourceImage: {image}
            """
        ) + _indent(account + scheduling, 2)

    # Ray gives its own account to the head alone; without one a worker could not reach the bucket.
    email = in_yaml(f"transfer-sweep-worker@{names.project}.iam.gserviceaccount.com")
    account = _block(
        f"""
        serviceAccounts:
          - email: {email}  # may use the bucket; see README.md
            scopes: [https://www.googleapis.com/auth/cloud-platform]  # what it may is for its roles to say
        """
    )
    ubuntu = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2204-lts"
    cuda = "projects/deeplearning-platform-release/global/images/family/common-cu128-ubuntu-2204-nvidia-570"
    image = cuda if sized.machine.gpus else ubuntu
    if sized.machine.gpus:
        driver = "metadata:\n  items:\n    # The image asks for it at its first start.\n"
        driver += "    - {key: install-nvidia-driver, value: 'True'}\n"
        host = "onHostMaintenance: TERMINATE}  # machines with GPUs cannot move while they run"
    else:
        driver, host = "", "onHostMaintenance: MIGRATE}  # maintenance costs it no work"
    spot = driver + "# A fraction of the full price; its disk is not paid for when it is gone.\nscheduling: "
    spot += "{provisioningModel: SPOT, instanceTerminationAction: DELETE, onHostMaintenance: TERMINATE}\n"
    demand = driver + f"scheduling: {{{host}\n"
    disk = _disk_gigabytes(sized.machine)

    def worker(name: str, why: str, scheduling: str, priority: int, most: int) -> str:
        lines = [
            f"{name}:",
            f"  # {why}",
            _indent(
                node(
                    sized.machine.name,
                    _machine_words(sized),
                    image=image,
                    disk=disk,
                    room="room for the environment and for stages fetched",
                    scheduling=scheduling,
                    account=account,
                )
            ).rstrip(),
            "  # What gangs can ask for: Ray knows it before it has rented one.",
            f"  resources: {_resources(sized)}",
            "  min_workers: 0  # nothing is rented while no work waits",
            f"  max_workers: {most}  # {_count_words(sized, most)}",
            f"  priority: {priority}  # {_priority_words(priority)}",
            "",
        ]
        return "\n".join(lines)

    chosen = head_machine(sized.need, Provider.GCP)
    head = "\n".join(
        [
            "head:",
            "  # Holds the dispatcher, the trials and the dashboard, and trains nothing. Never a spot machine: its",
            "  # loss stops the sweep (nothing is lost; `sweep submit` again goes on).",
            _indent(
                node(
                    chosen.name,
                    _head_words(sized.need, chosen),
                    image=ubuntu,
                    disk=60,
                    room="the environment, and Ray's logs",
                    scheduling="scheduling: {automaticRestart: true}  # after a fault of its host\n",
                )
            ).rstrip(),
            "  resources: {CPU: 0}  # no gang is ever placed here",
            "  min_workers: 0  # `ray up` starts the one there is",
            "  max_workers: 0  # and no other",
            "",
        ]
    )
    return "\n".join(
        [
            _head_comment(sized.need, Provider.GCP),
            f"cluster_name: {in_yaml(names.cluster)}  # `ray up` of another name is another cluster",
            _limits(sized.nodes + max(1, sized.nodes // 4)),
            _block(
                f"""
                provider:
                  type: gcp  # with the credentials of `gcloud auth application-default login`
                  region: {in_yaml(region)}  # the bucket's region, or every checkpoint pays for its way
                  availability_zone: {in_yaml(f"{region}-a")}  # any of the region that has the machines below
                  project_id: {in_yaml(names.project)}  # the project that pays
                """
            ),
            "auth:",
            f"  ssh_user: {in_yaml(names.ssh_user or 'ubuntu')}  # Ray makes the key pair and adds it to the project",
            "",
            "available_node_types:",
            _indent(head),
            _indent(
                worker(
                    "spot",
                    "Spot machines may vanish with half a minute's notice, in which gangs save and leave.",
                    spot,
                    10,
                    sized.nodes,
                )
            ),
            _indent(
                worker(
                    "on_demand",
                    "The same machine at the full price: used only where there is no spot machine.",
                    demand,
                    0,
                    max(1, sized.nodes // 4),
                )
            ),
            "head_node_type: head  # of the types above",
            "",
            _synced(names),
            _commands(names, head={"SWEEP_EXTRAS": "gcp"}, worker={"SWEEP_SPOT": "gcp"}),
        ]
    )


# Machines of one's own


def _local(need: Need, names: Names) -> str:
    addresses = ", ".join(map(in_yaml, names.workers))
    user, key = in_yaml(names.ssh_user or "CHANGE-ME"), in_yaml(names.ssh_key)
    gang = f"{need.workers} worker(s) of {_asked(need)}"
    return "\n".join(
        [
            _head_comment(need, Provider.LOCAL),
            f"cluster_name: {in_yaml(names.cluster)}  # `ray up` of another name is another cluster",
            f"# Each gang asks for {gang}; {need.gangs} gangs run at once if these machines hold them.",
            f"max_workers: {len(names.workers)}  # every address below",
            f"min_workers: {len(names.workers)}  # machines of one's own cost the same idle, so all join at once",
            "idle_timeout_minutes: 60  # an idle machine leaves the cluster and joins again when work waits",
            "",
            _block(
                f"""
                provider:
                  type: local  # nothing is rented
                  head_ip: {in_yaml(names.head)}  # trains nothing; 4 GB and 1 GB for each gang are enough
                  worker_ips: [{addresses}]  # as this machine and the head reach them
                auth:
                  ssh_user: {user}  # must be allowed to log in on every machine, on port 22
                  ssh_private_key: {key}  # `ray up` copies it to the head, which reaches the workers with it
                """
            ),
            _synced(names),
            _commands(
                names,
                # Ray 2.60's second autoscaler takes a head of one's own for lost after its first look, and starts
                # no worker; the first one does both right.
                both={"SWEEP_AUTOSCALER": "1", **dict(names.environment)},
                worker=dict(names.worker_environment),
            ),
        ]
    )


# Kubernetes


def _kuberay(need: Need, names: Names) -> str:
    gpus = max(1, round(need.gpus_per_worker)) if need.gpus_per_worker else 0
    # A pod lies on one machine, which rarely has more GPUs than that.
    per_pod = min(need.workers, max(1, _GPUS_PER_MACHINE // gpus)) if gpus else need.workers
    pods = need.gangs * -(-need.workers // per_pod)
    processors = max(1, round(per_pod * need.processors_per_worker))
    memory = max(8, round(per_pod * need.gigabytes * 1.2))
    limits = f"cpu: {processors}, memory: {memory}Gi" + (f", nvidia.com/gpu: {gpus * per_pod}" if gpus else "")
    memory_of_head = max(16, math.ceil(head_gigabytes(need)))
    head = f"cpu: {max(4, memory_of_head // 8)}, memory: {memory_of_head}Gi"
    image = in_yaml(names.image)
    claim, selector = [], []
    if need.accelerator:
        claim = [
            "    # What the autoscaler counts on: it starts a pod of this group for gangs that name this GPU.",
            f'    resources: {{"accelerator_type:{need.accelerator}": "1"}}',
        ]
        selector = [
            "        # What makes it true: only this keeps the pod off machines with another GPU. Until it is a label",
            "        # that your machines have, no pod starts. NVIDIA's feature discovery labels them as below: see",
            "        # `kubectl get nodes -L nvidia.com/gpu.product`; on Google's, cloud.google.com/gke-accelerator.",
            f"        nodeSelector: {{nvidia.com/gpu.product: {in_yaml(f'CHANGE-ME-{need.accelerator}')}}}",
        ]
    return "\n".join(
        [
            _head_comment(need, Provider.KUBERAY),
            _block(
                f"""
                apiVersion: ray.io/v1  # KubeRay's
                kind: RayCluster  # it stands until it is deleted; jobs are handed to it
                metadata:
                  name: {in_yaml(names.cluster)}  # another name is another cluster
                  namespace: default  # the one of the secret with the token
                """
            ).rstrip(),
            "spec:",
            f'  rayVersion: "{names.ray}"  # the Ray in the image',
            "  # The operator gives the token to every container, the autoscaler's too, which has no entry here.",
            f"  authOptions: {{mode: token, secretName: {_SECRET}}}",
            "  enableInTreeAutoscaling: true  # pods come when gangs wait for them",
            "  autoscalerOptions:",
            "    version: v2  # Ray's present one",
            "    idleTimeoutSeconds: 600  # a gang's pause between two stages must not cost its pod",
            "  headGroupSpec:",
            '    # Trains nothing ("num-cpus"); the dashboard answers inside the pod alone: `kubectl port-forward`.',
            '    rayStartParams: {num-cpus: "0", num-gpus: "0", dashboard-host: 127.0.0.1}',
            "    template:",
            "      spec:",
            "        containers:",
            "          - name: ray-head  # the first container is Ray's",
            f"            image: {image}  # made by cluster/Dockerfile: this Ray, this Python, this checkout",
            "            resources:",
            "              # Processes of two trials, a host and a controller for each gang, and Ray itself.",
            f"              limits: {{{head}}}",
            "              # As much as the limits: a pod that is moved or ended for want of room ends the sweep.",
            f"              requests: {{{head}}}",
            "  workerGroupSpecs:",
            f"  - groupName: {'gpu' if gpus else 'cpu'}  # all pods are alike",
            "    replicas: 0  # the autoscaler's business",
            "    minReplicas: 0  # nothing runs while no work waits",
            f"    maxReplicas: {pods}  # {need.gangs} gangs of {need.workers} worker(s), {per_pod} worker(s) to a pod",
            *claim,
            "    rayStartParams: {}  # Ray offers what the pod may use",
            "    template:",
            "      spec:",
            *selector,
            "        containers:",
            "          - name: ray-worker  # the first container is Ray's",
            f"            image: {image}  # the head's",
            "            resources:",
            f"              # {_asked(need)} and {need.gigabytes:.0f} GB for each worker, with a fifth to spare.",
            f"              limits: {{{limits}}}",
            "              # As much as the limits, so that no pod is ended for its neighbours' memory.",
            f"              requests: {{{limits}}}",
            "",
        ]
    )


# Parts


def _head_comment(need: Need, provider: Provider) -> str:
    start = {
        Provider.KUBERAY: f"ray get-auth-token --generate; kubectl create secret generic {_SECRET} "
        "--from-file=auth_token=$HOME/.ray/auth_token\n#          kubectl apply -f FILE",
    }.get(provider, "ray get-auth-token --generate && ray up FILE")
    end = "kubectl delete -f FILE" if provider is Provider.KUBERAY else "ray down FILE"
    lines = [
        f"# A cluster on {provider} for {need.sweep}.",
        f"# {need.gangs} gang(s) of {need.workers} worker(s); each worker: {_asked(need)}, {_memory(need)}.",
        "# Written by `sweep cluster`; change what you like. Storage is not named here: give every command",
        "# --storage s3://…, gs://… or a folder that all machines see.",
        f"#   start: {start}",
        f"#   end:   {end}",
    ]
    if provider is Provider.KUBERAY:
        lines.append(f"# The operator must be KubeRay {KUBERAY_VERSION} or newer: older ones know no secretName.")
    return "\n".join([*lines, ""])


def _asked(need: Need) -> str:
    gpu = f"{need.gpus_per_worker:g} {need.accelerator or 'GPU'} and " if need.gpus_per_worker else ""
    return f"{gpu}{need.processors_per_worker:g} processor(s)"


def _memory(need: Need) -> str:
    gpu = f"about {need.gpu_gigabytes:.1f} GB of GPU memory and " if need.gpus_per_worker else "about "
    return f"{gpu}{need.gigabytes:.1f} GB of main memory"


def _limits(nodes: int) -> str:
    return (
        f"max_workers: {nodes}  # all types together: an hour costs at most these and the head\n"
        "upscaling_speed: 1.0  # doubles at most at each look: a mistake costs a few machines, not a fleet\n"
        "idle_timeout_minutes: 10  # starting one takes minutes too: a shorter time would rent the same one twice\n"
    )


def _machine_words(sized: Fleet) -> str:
    m = sized.machine
    gpus = f"{m.gpus} × {m.accelerator} {m.gpu_gigabytes} GB, " if m.gpus else ""
    return f"{gpus}{m.processors} processors, {m.gigabytes} GB: holds {sized.workers_per_node} worker(s)"


def _head_words(need: Need, head: Machine) -> str:
    return (
        f"{head.gigabytes} GB: Ray, and processes of two trials, a host and a controller for each of {need.gangs} gangs"
    )


def _priority_words(priority: int) -> str:
    return "rented first" if priority else "rented only where the other cannot be had"


def _count_words(sized: Fleet, most: int) -> str:
    if most < sized.nodes:
        return "a quarter of the spot machines: the sweep goes on, slower, where there are none of those"
    return f"holds all {sized.need.gangs} gang(s) at once"


def _resources(sized: Fleet) -> str:
    """What a machine offers Ray, stated so that the autoscaler knows it before it has rented one."""
    m = sized.machine
    gpus = f', GPU: {m.gpus}, "accelerator_type:{m.accelerator}": 1' if m.gpus else ""
    return f"{{CPU: {m.processors}{gpus}}}"


def _disk_gigabytes(machine: Machine) -> int:
    return 200 if machine.gpus else 100


def _synced(names: Names) -> str:
    return _block(
        f"""
        # The checkout is what every machine runs; `ray up` again after a change. The token is the cluster's key.
        file_mounts:
          ~/transfer-sweep: {in_yaml(names.checkout)}  # where node.sh installs it from
          ~/.ray/auth_token: ~/.ray/auth_token  # made by `ray get-auth-token --generate`
        rsync_exclude: ["**/.git", "**/.venv", "**/sweeps", "**/__pycache__"]  # large, or another machine's
        rsync_filter: [.gitignore]  # what is no part of the project either
        """
    )


def _commands(
    names: Names,
    *,
    both: dict[str, str] | None = None,
    head: dict[str, str] | None = None,
    worker: dict[str, str] | None = None,
) -> str:
    def run(action: str, more: dict[str, str] | None = None) -> str:
        given = {"SWEEP_RAY": names.ray, "SWEEP_PYTHON": names.python, **(both or {}), **(more or {})}
        if "/" in given["SWEEP_PYTHON"]:  # an interpreter, which must be the one of the version all the same
            given.setdefault("SWEEP_PYTHON_VERSION", names.python)
        variables = " ".join(f"{name}={in_shell(value)}" for name, value in given.items())
        return command_in_yaml(f"{variables} bash ~/transfer-sweep/cluster/node.sh {action}")

    return "\n".join(
        [
            "# One script does everything on every machine: the environment with this Python and this Ray, token",
            "# authentication on, all threads allowed, the dashboard on the loopback interface.",
            "initialization_commands: []  # nothing comes before the script",
            "setup_commands: []  # head and workers differ in their variables",
            "head_setup_commands:  # once, and after each change of the checkout",
            f"  - {run('install', head)}",
            "worker_setup_commands:  # the same",
            f"  - {run('install', worker)}",
            "head_start_ray_commands:  # at every `ray up`; ends any other Ray of this user there first",
            f"  - {run('head', head)}",
            "worker_start_ray_commands:  # when a worker has come; the same",
            f"  - {run('worker $RAY_HEAD_IP', worker)}",
            "",
        ]
    )


def _block(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


def _indent(text: str, spaces: int = 2) -> str:
    return textwrap.indent(text, " " * spaces)
