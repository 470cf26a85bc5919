"""`python -m stride_ros`: the same command as `stride-ros`."""

from stride_ros.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
