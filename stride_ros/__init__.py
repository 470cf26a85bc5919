"""Proactive robot commentary: decide when to speak with STRIDE, and what to say with a Video-LLM."""

from pkgutil import extend_path

# Messages are generated into the build and modules are in the source tree: both belong to this package.
__path__ = extend_path(__path__, __name__)
