"""`llama-quantize IN OUT TYPE` by the library that llama-cpp-python brings along: the same C function, without a build.

Runs in any environment that has llama-cpp-python, for it imports nothing of ours.
"""

import sys

__all__ = ["main"]


def main(source: str, target: str, kind: str) -> int:
    """The C function's code: 0 where it worked."""
    import llama_cpp  # type: ignore[import-not-found]  # an extra

    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    settings.nthread = 0  # as many as there are
    return int(llama_cpp.llama_model_quantize(source.encode(), target.encode(), settings))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
