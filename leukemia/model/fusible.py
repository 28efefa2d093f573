"""Which backbones may be fused for training: those of layers and settings that are known here.

`fused` exchanges each of their layers; any other backbone is trained as Keras has it.
"""

import keras
from keras import layers

# What has no variables is built anew, in the precision of the network.
WEIGHTLESS = (
    layers.Activation,
    layers.Add,
    layers.AveragePooling2D,
    layers.Concatenate,
    layers.MaxPooling2D,
    layers.ReLU,
    layers.ZeroPadding2D,
)


KNOWN = (layers.InputLayer, layers.Conv2D, layers.BatchNormalization, *WEIGHTLESS)


# Settings of a convolution or batch norm that change nothing here, or that are followed. Each
# other one must have a value of REQUIRED, else be unset: none of a later Keras is passed over.
FOLLOWED = {
    *("name", "trainable", "dtype", "filters", "kernel_size", "strides", "padding", "activation"),
    *("use_bias", "momentum", "epsilon", "renorm_clipping", "renorm_momentum"),
}


REQUIRED = {
    "data_format": ("channels_last",),
    "dilation_rate": ((1, 1),),
    "groups": (1,),
    "axis": (3, -1),
    "center": (True,),
    "scale": (True,),
    "synchronized": (False,),
    "renorm": (False,),
}


# An initializer has done its work, and a constraint belongs to the variable, so to its optimizer.
DONE_ELSEWHERE = ("_initializer", "_constraint")


def why_plain(backbone: keras.Model) -> str:
    """What keeps a backbone from being fused, in a few words; "" where nothing does."""
    for step in backbone.operations:
        if type(step) not in KNOWN:
            return f"{step.name} is a {type(step).__name__}"
    return next(filter(None, map(_unknown_use, backbone.operations)), "")


def _unknown_use(step: keras.Operation) -> str:
    """What of a known layer's settings and calls is not known; "" where all is."""
    if step.dtype_policy.name != "float32":
        return f"{step.name} computes in {step.dtype_policy.name}"
    if len(step._inbound_nodes) != 1:
        return f"{step.name} is used more than once"
    if any(given is not None for given in step._inbound_nodes[0].arguments.kwargs.values()):
        return f"{step.name} is called with settings"
    config = step.get_config()
    if not isinstance(config.get("activation", "linear"), str):  # it could have variables
        return f"{step.name} has an activation that is not Keras' own"
    if type(step) in (layers.Conv2D, layers.BatchNormalization):
        for name in config.keys() - FOLLOWED:
            if not name.endswith(DONE_ELSEWHERE) and config[name] not in REQUIRED.get(
                name, (None,)
            ):
                return f"{step.name} has {name} {config[name]}"
    return ""
