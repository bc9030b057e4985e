"""The publications that methods cite, by the key that the decorators of `normviz.registry` take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Source:
    """A publication."""

    authors: str
    year: int
    title: str
    url: str

    def text(self) -> str:
        """The citation in one line."""
        return f"{self.authors} {self.year}, {self.title}"


def _arxiv(number: str) -> str:
    return f"https://arxiv.org/abs/{number}"


BIBLIOGRAPHY: dict[str, Source] = {
    "ioffe2015batch": Source(
        "Ioffe & Szegedy", 2015, "Batch Normalization: Accelerating Deep Network Training", _arxiv("1502.03167")
    ),
    "ba2016layer": Source("Ba, Kiros & Hinton", 2016, "Layer Normalization", _arxiv("1607.06450")),
    "ulyanov2016instance": Source(
        "Ulyanov, Vedaldi & Lempitsky", 2016, "Instance Normalization: The Missing Ingredient", _arxiv("1607.08022")
    ),
    "wu2018group": Source("Wu & He", 2018, "Group Normalization", _arxiv("1803.08494")),
    "zhang2019rms": Source("Zhang & Sennrich", 2019, "Root Mean Square Layer Normalization", _arxiv("1910.07467")),
    "laurent2015rnn": Source(
        "Laurent et al.", 2015, "Batch Normalized Recurrent Neural Networks", _arxiv("1510.01378")
    ),
    "cooijmans2016recurrent": Source("Cooijmans et al.", 2016, "Recurrent Batch Normalization", _arxiv("1603.09025")),
    "hoffer2017train": Source("Hoffer, Hubara & Soudry", 2017, "Train Longer, Generalize Better", _arxiv("1705.08741")),
    "summers2019four": Source(
        "Summers & Dinneen",
        2019,
        "Four Things Everyone Should Know to Improve Batch Normalization",
        _arxiv("1906.03548"),
    ),
    "brock2021high": Source(
        "Brock et al.",
        2021,
        "High-Performance Large-Scale Image Recognition Without Normalization",
        _arxiv("2102.06171"),
    ),
    "brock2021characterizing": Source(
        "Brock, De & Smith",
        2021,
        "Characterizing Signal Propagation to Close the Performance Gap in Unnormalized ResNets",
        _arxiv("2101.08692"),
    ),
    "perez2017film": Source(
        "Perez et al.", 2017, "FiLM: Visual Reasoning with a General Conditioning Layer", _arxiv("1709.07871")
    ),
    "peebles2022dit": Source(
        "Peebles & Xie", 2022, "Scalable Diffusion Models with Transformers", _arxiv("2212.09748")
    ),
    "salimans2016weight": Source("Salimans & Kingma", 2016, "Weight Normalization", _arxiv("1602.07868")),
    "miyato2018spectral": Source(
        "Miyato et al.", 2018, "Spectral Normalization for Generative Adversarial Networks", _arxiv("1802.05957")
    ),
    "krizhevsky2012imagenet": Source(
        "Krizhevsky, Sutskever & Hinton",
        2012,
        "ImageNet Classification with Deep Convolutional Neural Networks",
        "https://doi.org/10.1145/3065386",
    ),
    "jarrett2009best": Source(
        "Jarrett et al.",
        2009,
        "What Is the Best Multi-Stage Architecture for Object Recognition?",
        "https://doi.org/10.1109/ICCV.2009.5459469",
    ),
    "heeger1992normalization": Source(
        "Heeger",
        1992,
        "Normalization of Cell Responses in Cat Striate Cortex",
        "https://doi.org/10.1017/S0952523800009640",
    ),
    "lyu2008nonlinear": Source(
        "Lyu & Simoncelli",
        2008,
        "Nonlinear Image Representation Using Divisive Normalization",
        "https://doi.org/10.1109/CVPR.2008.4587821",
    ),
    "woo2023convnext": Source(
        "Woo et al.",
        2023,
        "ConvNeXt V2: Co-designing and Scaling ConvNets with Masked Autoencoders",
        _arxiv("2301.00808"),
    ),
    "huang2017adain": Source(
        "Huang & Belongie",
        2017,
        "Arbitrary Style Transfer in Real-Time with Adaptive Instance Normalization",
        _arxiv("1703.06868"),
    ),
    "vaswani2017attention": Source("Vaswani et al.", 2017, "Attention Is All You Need", _arxiv("1706.03762")),
    "xiong2020layer": Source(
        "Xiong et al.", 2020, "On Layer Normalization in the Transformer Architecture", _arxiv("2002.04745")
    ),
    "nguyen2018fixnorm": Source(
        "Nguyen & Chiang", 2018, "Improving Lexical Choice in Neural Machine Translation", _arxiv("1710.01329")
    ),
    "nguyen2019scalenorm": Source("Nguyen & Salazar", 2019, "Transformers without Tears", _arxiv("1910.05895")),
    "henry2020qknorm": Source("Henry et al.", 2020, "Query-Key Normalization for Transformers", _arxiv("2010.04245")),
    "loshchilov2024ngpt": Source(
        "Loshchilov et al.",
        2024,
        "nGPT: Normalized Transformer with Representation Learning on the Hypersphere",
        _arxiv("2410.01131"),
    ),
    "chen2018gradnorm": Source(
        "Chen et al.", 2018, "GradNorm: Gradient Normalization for Adaptive Loss Balancing", _arxiv("1711.02257")
    ),
    "qiao2019weight": Source(
        "Qiao et al.",
        2019,
        "Micro-Batch Training with Batch-Channel Normalization and Weight Standardization",
        _arxiv("1903.10520"),
    ),
    "singh2020frn": Source("Singh & Krishnan", 2020, "Filter Response Normalization Layer", _arxiv("1911.09737")),
    "luo2018switchable": Source(
        "Luo et al.", 2018, "Differentiable Learning-to-Normalize via Switchable Normalization", _arxiv("1806.10779")
    ),
    "park2019spade": Source(
        "Park et al.", 2019, "Semantic Image Synthesis with Spatially-Adaptive Normalization", _arxiv("1903.07291")
    ),
    "wang2022deepnet": Source(
        "Wang et al.", 2022, "DeepNet: Scaling Transformers to 1,000 Layers", _arxiv("2203.00555")
    ),
    "zhu2025dyt": Source("Zhu et al.", 2025, "Transformers without Normalization", _arxiv("2503.10622")),
    "ding2021cogview": Source(
        "Ding et al.", 2021, "CogView: Mastering Text-to-Image Generation via Transformers", _arxiv("2105.13290")
    ),
    "kim2025peri": Source(
        "Kim et al.",
        2025,
        "Peri-LN: Revisiting Normalization Layer in the Transformer Architecture",
        _arxiv("2502.02732"),
    ),
    "bell1997zca": Source(
        "Bell & Sejnowski",
        1997,
        "The Independent Components of Natural Scenes Are Edge Filters",
        "https://doi.org/10.1016/S0042-6989(97)00121-1",
    ),
    "pedregosa2011scikit": Source(
        "Pedregosa et al.", 2011, "Scikit-learn: Machine Learning in Python", _arxiv("1201.0490")
    ),
    "lecun1998efficient": Source("LeCun et al.", 1998, "Efficient BackProp", "https://doi.org/10.1007/3-540-49430-8_2"),
    "yang2019mean": Source("Yang et al.", 2019, "A Mean Field Theory of Batch Normalization", _arxiv("1902.08129")),
    "santurkar2018how": Source(
        "Santurkar et al.", 2018, "How Does Batch Normalization Help Optimization?", _arxiv("1805.11604")
    ),
    "radford2019gpt2": Source(
        "Radford et al.",
        2019,
        "Language Models are Unsupervised Multitask Learners",
        "https://cdn.openai.com/better-language-models/language_models_are_unsupervised_multitask_learners.pdf",
    ),
    "simonyan2013deep": Source(
        "Simonyan, Vedaldi & Zisserman", 2013, "Deep Inside Convolutional Networks", _arxiv("1312.6034")
    ),
    "zeiler2014visualizing": Source(
        "Zeiler & Fergus", 2014, "Visualizing and Understanding Convolutional Networks", _arxiv("1311.2901")
    ),
    "springenberg2015striving": Source(
        "Springenberg et al.", 2015, "Striving for Simplicity: The All Convolutional Net", _arxiv("1412.6806")
    ),
    "zhou2016learning": Source(
        "Zhou et al.", 2016, "Learning Deep Features for Discriminative Localization", _arxiv("1512.04150")
    ),
    "selvaraju2017grad": Source(
        "Selvaraju et al.", 2017, "Grad-CAM: Visual Explanations from Deep Networks", _arxiv("1610.02391")
    ),
    "chattopadhay2018grad": Source(
        "Chattopadhay et al.", 2018, "Grad-CAM++: Improved Visual Explanations", _arxiv("1710.11063")
    ),
    "wang2020score": Source("Wang et al.", 2020, "Score-CAM: Score-Weighted Visual Explanations", _arxiv("1910.01279")),
    "jiang2021layercam": Source(
        "Jiang et al.",
        2021,
        "LayerCAM: Exploring Hierarchical Class Activation Maps",
        "https://doi.org/10.1109/TIP.2021.3089943",
    ),
    "fu2020axiom": Source(
        "Fu et al.", 2020, "Axiom-based Grad-CAM: Towards Accurate Visualization and Explanation", _arxiv("2008.02312")
    ),
    "draelos2020hirescam": Source(
        "Draelos & Carin", 2020, "Use HiResCAM Instead of Grad-CAM for Faithful Explanations", _arxiv("2011.08891")
    ),
    "gildenblat2021library": Source(
        "Gildenblat et al.", 2021, "PyTorch Library for CAM Methods", "https://github.com/jacobgil/pytorch-grad-cam"
    ),
    "omeiza2019smooth": Source(
        "Omeiza et al.", 2019, "Smooth Grad-CAM++: An Enhanced Inference Level Visualization", _arxiv("1908.01224")
    ),
    "cai2025cams": Source("Cai", 2025, "CAMs as Shapley Value-based Explainers", _arxiv("2501.06261")),
    "zhang2025finer": Source(
        "Zhang et al.", 2025, "Finer-CAM: Spotting the Difference Reveals Finer Details", _arxiv("2501.11309")
    ),
    "srinivas2019full": Source(
        "Srinivas & Fleuret",
        2019,
        "Full-Gradient Representation for Neural Network Visualization",
        _arxiv("1905.00780"),
    ),
    "smilkov2017smoothgrad": Source(
        "Smilkov et al.", 2017, "SmoothGrad: Removing Noise by Adding Noise", _arxiv("1706.03825")
    ),
    "sundararajan2017axiomatic": Source(
        "Sundararajan, Taly & Yan", 2017, "Axiomatic Attribution for Deep Networks", _arxiv("1703.01365")
    ),
    "desai2020ablation": Source(
        "Desai & Ramaswamy",
        2020,
        "Ablation-CAM: Visual Explanations for Deep Convolutional Network via Gradient-free Localization",
        "https://doi.org/10.1109/WACV45572.2020.9093360",
    ),
    "muhammad2020eigen": Source(
        "Muhammad & Yeasin", 2020, "Eigen-CAM: Class Activation Map using Principal Components", _arxiv("2008.00299")
    ),
    "karmani2024kpca": Source(
        "Karmani et al.",
        2024,
        "KPCA-CAM: Visual Explainability of Deep Computer Vision Models using Kernel PCA",
        _arxiv("2410.00267"),
    ),
    "fuad2020features": Source(
        "Fuad et al.",
        2020,
        "Features Understanding in 3D CNNs for Actions Recognition in Video",
        "https://hal.science/hal-02963298",
    ),
    "wang2020smoothed": Source(
        "Wang et al.", 2020, "SS-CAM: Smoothed Score-CAM for Sharper Visual Feature Localization", _arxiv("2006.14255")
    ),
    "naidu2020integrated": Source(
        "Naidu et al.", 2020, "IS-CAM: Integrated Score-CAM for Axiomatic-Based Explanations", _arxiv("2010.03023")
    ),
    "petsiuk2018rise": Source(
        "Petsiuk, Das & Saenko", 2018, "RISE: Randomized Input Sampling for Explanation", _arxiv("1806.07421")
    ),
}
