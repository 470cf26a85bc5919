"""`pip install .`: everything that needs no ROS. Name, version and authors come from package.xml."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
manifest = ElementTree.parse(ROOT / "package.xml").getroot()
maintainer = manifest.find("maintainer")


def requirements(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


setup(
    name=manifest.findtext("name"),
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license=manifest.findtext("license"),
    author=manifest.findtext("author"),
    maintainer=maintainer.text,
    maintainer_email=maintainer.get("email"),
    python_requires=">=3.10",
    packages=find_packages(include=["stride_ros", "stride_ros.*"]),
    data_files=[
        (f"share/stride_ros/{folder}", sorted(f"{folder}/{f.name}" for f in (ROOT / folder).glob("*.*")))
        for folder in ("config", "config/profiles", "config/views", "models/stride-tiny", "msg")
    ]
    + [("share/stride_ros", ["requirements.txt"])],
    install_requires=requirements("requirements.txt"),
    extras_require={"fleet": requirements("requirements-fleet.txt")},
    entry_points={"console_scripts": ["stride-ros = stride_ros.__main__:main"]},
)
