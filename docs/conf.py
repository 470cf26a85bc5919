"""Sphinx settings for rosdoc2: modules that package.xml cannot declare, or that are not built, are mocked."""

autodoc_mock_imports = [
    "PIL",
    "accelerate",
    "av",
    "backports",
    "cv2",
    "huggingface_hub",
    "jinja2",
    "lz4",
    "mcap",
    "openai",
    "packaging",
    "pyarrow",
    "pytest",
    "ray",
    "rosbags",
    "safetensors",
    "stride_ros.msg",
    "tf2_ros",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "yaml",
]

myst_heading_anchors = 4  # links to headings, as GitHub names them
