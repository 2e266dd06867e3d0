"Packaging: every value comes from `settings.ini`, which nbdev reads too."

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

cfg = ConfigParser(delimiters=["="])
cfg.read("settings.ini", encoding="utf-8")
cfg = cfg["DEFAULT"]

setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author=cfg["author"],
    url=cfg["git_url"],
    keywords=cfg["keywords"].split(),
    classifiers=["Intended Audience :: Developers", "Programming Language :: Python :: 3.11"],
    packages=find_packages(include=["agentft", "agentft.*"]),
    include_package_data=True,
    data_files=[("share/agentft", [f for f in ("prices.yaml",) if Path(f).exists()])],
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg["requirements"].split(),
    extras_require={
        o: cfg[f"{o}_requirements"].split()
        for o in ("train", "teacher", "endpoint", "review", "embedded", "gpu", "cloud", "dev")
    },
    entry_points={
        "console_scripts": cfg["console_scripts"].split(),
        "nbdev": [f"{cfg['lib_name']}={cfg['lib_name']}._modidx:d"],
    },
    zip_safe=False,
)
