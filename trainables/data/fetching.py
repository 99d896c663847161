"""Files of the hub's repositories: this machine's copy of them, and what is fetched, or why not; knows no tasks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainables.errors import is_full
from trainables.faults import Invalid

#: What a server says while it is overloaded or down, and where another try may help.
_TRY_AGAIN = "try the same command again later: files that came whole are kept"
_LOG_IN = "`hf auth login`, or the variable HF_TOKEN"

#: What is raised of an answer that is not what it should be: hf_xet says nearly all in the text of a RuntimeError, and
#: what cannot be read is a ValueError.
_GARBLED = (RuntimeError, ValueError)


def copy_of(repository: str, revision: str | None, *, kind: str, patterns: list[str] | None = None) -> Path | None:
    """The folder that the hub's cache has of a repository at a revision; asks no other machine.

    A folder that lacks some of the files of `patterns` is no copy. Without patterns it is one, whatever it lacks.

    Raises:
        Invalid: where the hub can have no repository of that name.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository, repo_type=kind, revision=revision, allow_patterns=patterns, local_files_only=True
            )
        )
    except LocalEntryNotFoundError as error:
        # Where a part was fetched before, as only a part is wanted, that is said of the folder and it is named.
        partly = getattr(error, "snapshot_path", None)
        return Path(partly) if partly and patterns is None else None
    except HFValidationError as error:
        fault = f"repository must be 'owner/name', got {repository!r}; correct it"
        raise Invalid(f"{kind} {repository!r}", [fault]) from error


def fetched(repository: str, revision: str | None, *, kind: str, patterns: list[str]) -> Path:
    """The folder of a repository at a revision in the hub's cache, after the files of `patterns` were downloaded there.

    Raises:
        NotFetched: where the hub gives none or cannot be reached.
        NotOnHub: where it has no such repository or revision.
    """
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repository, repo_type=kind, revision=revision, allow_patterns=patterns))
    except (OSError, *_GARBLED, _broken_connection()) as error:
        raise _reason(error, repository, revision, kind) from error


class NotFetched(Exception):
    """Why the hub gave nothing: a clause of what arrived, and one of what to do."""


class NotOnHub(NotFetched):
    """The same where asking again, by whatever means, gives nothing either."""


def _broken_connection() -> type[Exception]:
    """What the hub's client raises where a connection fails or breaks: it is no OSError, and not the same in each."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(one for one in HfHubHTTPError.__bases__ if not issubclass(one, OSError))


def _reason(error: BaseException, repository: str, revision: str | None, kind: str) -> NotFetched:
    from huggingface_hub import constants, errors

    page = f"{constants.ENDPOINT}/{'' if kind == 'model' else f'{kind}s/'}{repository}"
    chain = list(_chain(error))
    status = next((one.response.status_code for one in chain if isinstance(one, errors.HfHubHTTPError)), 0)

    def has(kind_of_error: type[BaseException]) -> bool:
        return any(isinstance(one, kind_of_error) for one in chain)

    if has(errors.RevisionNotFoundError):
        return NotOnHub(f"no revision {revision!r} of it; state one that is listed at {page}/commits/main")
    if has(errors.GatedRepoError):
        token = "no token came with the request" if status == 401 else "the token's owner has no access"
        told = f"a refusal, because it is gated and {token}; accept its conditions at {page} and log in ({_LOG_IN})"
    elif has(errors.RepositoryNotFoundError):
        return NotOnHub(f"no {kind} of that name; correct it, or log in where it is private ({_LOG_IN})")
    elif has(errors.OfflineModeIsEnabled):
        told = "no request, because HF_HUB_OFFLINE is set; unset it"
    elif status in (401, 403):
        told = f"a refusal, status {status}; log in with a token that may read it ({_LOG_IN})"
    elif status:
        told = f"status {status}{', too many requests' if status == 429 else ''}; {_TRY_AGAIN}"
    else:
        said = (str(chain[-1]).strip().splitlines() or [type(chain[-1]).__name__])[0]
        by_xet = isinstance(chain[-1], _GARBLED) or type(chain[-1]).__module__ == "hf_xet"
        broken = not is_full(error) and (by_xet or has(_broken_connection()))
        told = f"no whole answer from {constants.ENDPOINT} ({said})" if broken else f"{said}; mend that"
        told += f"; {_TRY_AGAIN}"
        if broken and by_xet:
            told += "; or set HF_HUB_DISABLE_XET=1, which fetches by HTTP alone"
    return NotFetched(told)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from, the first cause last."""
    while error is not None:
        yield error
        error = error.__cause__
