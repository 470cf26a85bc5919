"""Download a checkpoint from Hugging Face into its cache, with clear errors."""

from __future__ import annotations

import errno
from pathlib import Path

from stride_ros.errors import CheckpointError, causes

# Weights in other formats would be unpickled, which runs code.
WANTED = ("*.json", "*.jinja", "*.txt", "*.model", "*.safetensors")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNWRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}


def download(repo: str) -> Path:
    """Return the directory of a repository's files in the cache. CheckpointError if the download fails."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise CheckpointError(
            "huggingface_hub is not installed; run `pip install huggingface_hub` or pass a local directory."
        ) from error
    try:
        return Path(snapshot_download(repo, allow_patterns=list(WANTED)))
    except Exception as error:  # the library raises its own, the HTTP client's and system errors
        raise CheckpointError(_sentence(repo, error)) from error


def _sentence(repo: str, error: Exception) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    failed = f"The checkpoint {repo} could not be downloaded from Hugging Face"
    chain = list(causes(error))
    system = [cause for cause in chain if isinstance(cause, OSError)]
    full = any(cause.errno in _FULL for cause in system)
    # Only for files: a firewall refuses connections with the same error numbers.
    unwritable = any(cause.errno in _UNWRITABLE and cause.filename is not None for cause in system)
    text = " ".join(str(cause) for cause in chain)
    cache = constants.HF_HUB_CACHE
    if full or "No space left" in text or "os error 28" in text:
        return (
            f"{failed}, because the disk that holds {cache} is full; free some space there or set HF_HOME to "
            "a directory on another disk."
        )
    if unwritable or "Read-only file system" in text:
        return (
            f"{failed}, because its cache {cache} cannot be written; make it writable for this user or set "
            "HF_HOME to a writable directory."
        )
    if isinstance(error, GatedRepoError):
        return (
            f"{failed}, because it is gated; accept its terms at https://huggingface.co/{repo} and log in "
            "with `hf auth login` or HF_TOKEN, or give a local directory."
        )
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return (
            f"There is neither a local directory {repo} nor a repository of that name on Hugging Face that "
            "you may read; check the name, log in with `hf auth login` or HF_TOKEN if it is private, or give "
            "an existing directory."
        )
    return (
        f"{failed} ({type(error).__name__}), and there is no local directory of that name; check the "
        "network, accept the terms on its model page and log in with `hf auth login` or HF_TOKEN, or "
        f"download it elsewhere with `hf download {repo} --local-dir DIR` and pass that local directory."
    )
