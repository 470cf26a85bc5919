"""Proactive robot commentary: decide when to speak with STRIDE, and what to say with a Video-LLM."""

from pkgutil import extend_path

# The messages are generated into the build, the modules live in the source tree: both are this package.
__path__ = extend_path(__path__, __name__)
