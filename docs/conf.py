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
    "pytest",
    "rosbags",
    "safetensors",
    "stride_ros.msg",
    "tokenizers",
    "torch",
    "transformers",
    "triton",
    "yaml",
]
