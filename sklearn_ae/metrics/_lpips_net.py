"""The published networks that LPIPS compares images by, as far as it needs them."""

import torch
from torch import nn

# Of an image's channels, in the range from -1 to 1, over ImageNet.
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# NOTE: under the root, as in torchmetrics; the authors add 1e-10 to the root.
EPSILON = 1e-8


def _block(n_in, n_out, size=3, stride=1, padding=1):
    # Weights are loaded: to draw them would move torch's global random state.
    convolution = nn.Conv2d(n_in, n_out, size, stride, padding, device="meta")
    return convolution, nn.ReLU(inplace=True)


def _alexnet():
    layers = [*_block(3, 64, 11, 4, 2), nn.MaxPool2d(3, 2)]
    layers += [*_block(64, 192, 5, 1, 2), nn.MaxPool2d(3, 2)]
    return [*layers, *_block(192, 384), *_block(384, 256), *_block(256, 256)]


def _vgg16():
    layers = [*_block(3, 64), *_block(64, 64)]
    for n_in, n_out, depth in (
        (64, 128, 2),
        (128, 256, 3),
        (256, 512, 3),
        (512, 512, 3),
    ):
        layers += [nn.MaxPool2d(2), *_block(n_in, n_out)]
        for _ in range(depth - 1):
            layers += _block(n_out, n_out)
    return layers


# Layers, and after which of them the activations are compared.
NETS = {
    "alex": (_alexnet, (1, 4, 7, 9, 11)),
    "vgg": (_vgg16, (3, 8, 15, 22, 29)),
}


class Backbone(nn.Module):
    """The convolutions of AlexNet or VGG16, without weights yet.

    Names and shapes in the state dict are those of torchvision's checkpoints.

    Parameters
    ----------
    net : {"alex", "vgg"}
    """

    def __init__(self, net):
        super().__init__()
        layers, _ = NETS[net]
        self.features = nn.Sequential(*layers())


class Heads(nn.Module):
    """A weight for each channel that is compared, without weights yet.

    Names and shapes in the state dict are those of the files in torchmetrics.

    Parameters
    ----------
    net : {"alex", "vgg"}
    """

    def __init__(self, net):
        super().__init__()
        layers, compared = NETS[net]
        layers = layers()
        for i, place in enumerate(compared):
            n_channels = layers[place - 1].out_channels
            head = nn.Conv2d(n_channels, 1, 1, bias=False, device="meta")
            # Where the paper, in training, has its dropout.
            model = nn.Sequential(nn.Identity(), head)
            self.add_module(f"lin{i}", nn.ModuleDict({"model": model}))

    def __getitem__(self, i):
        return self.get_submodule(f"lin{i}.model")


class LPIPS(nn.Module):
    """Distance (n,) of n pairs of images (n, 3, H, W) in the range from -1 to 1.

    Parameters
    ----------
    net : {"alex", "vgg"}
    """

    def __init__(self, net):
        super().__init__()
        self.backbone, self.heads = Backbone(net), Heads(net)
        self.compared = NETS[net][1]
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None])

    def forward(self, x, y):
        """Sum, over the layers that are compared, of their mean distance."""
        x, y = ((image - self.shift) / self.scale for image in (x, y))
        total = 0
        for i, layer in enumerate(self.backbone.features):
            # One after the other: in one batch, equal images could differ by rounding.
            x, y = layer(x), layer(y)
            if i in self.compared:
                head = self.heads[self.compared.index(i)]
                total = total + head((_unit(x) - _unit(y)) ** 2).mean(dim=(1, 2, 3))
        return total


def _unit(x):
    return x / (x.square().sum(dim=1, keepdim=True) + EPSILON).sqrt()
