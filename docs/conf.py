"""Sphinx settings for rosdoc2: modules that package.xml cannot declare, or that are not built, are mocked."""

autodoc_mock_imports = [
    "PIL",
    "accelerate",
    "av",
    "cv2",
    "huggingface_hub",
    "openai",
    "pytest",
    "rosbags",
    "safetensors",
    "stride_ros.msg",
    "tokenizers",
    "torch",
    "transformers",
    "yaml",
]
