"""Networks of LPIPS: the convolutions of AlexNet and VGG16, and channel weights."""

import torch
from torch import nn


def _block(n_in, n_out, size=3, stride=1, padding=1):
    # Weights are loaded later; drawing them would advance torch's global generator.
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


# Function that builds the layers, and indices of those whose outputs are compared.
NETS = {
    "alex": (_alexnet, (1, 4, 7, 9, 11)),
    "vgg": (_vgg16, (3, 8, 15, 22, 29)),
}


class Backbone(nn.Module):
    """Convolutions of AlexNet or VGG16, with uninitialised weights.

    The state dict has the names and shapes of torchvision's checkpoints.

    Parameters
    ----------
    net : {"alex", "vgg"}
    """

    def __init__(self, net):
        super().__init__()
        layers, _ = NETS[net]
        self.features = nn.Sequential(*layers())


class Heads(nn.Module):
    """One 1 x 1 convolution per compared layer, with uninitialised weights.

    The state dict has the names and shapes of the files in torchmetrics.

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
            # The identity takes the place of the paper's dropout: names are kept.
            model = nn.Sequential(nn.Identity(), head)
            self.add_module(f"lin{i}", nn.ModuleDict({"model": model}))

    def __getitem__(self, i):
        return self.get_submodule(f"lin{i}.model")


class LPIPS(nn.Module):
    """LPIPS (n,) of n pairs of images (n, 3, H, W) with values from -1 to 1.

    Parameters
    ----------
    net : {"alex", "vgg"}
    """

    def __init__(self, net):
        super().__init__()
        self.backbone, self.heads = Backbone(net), Heads(net)
        self.compared = NETS[net][1]
        # Mean and standard deviation of ImageNet's channels in [-1, 1] (Zhang et al.).
        mean, std = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
        self.register_buffer("shift", torch.tensor(mean)[:, None, None])
        self.register_buffer("scale", torch.tensor(std)[:, None, None])

    def forward(self, x, y):
        """Return the sum of the compared layers' mean distances."""
        x, y = ((image - self.shift) / self.scale for image in (x, y))
        total = 0
        for i, layer in enumerate(self.backbone.features):
            # Not in one batch, where equal images could differ by rounding.
            x, y = layer(x), layer(y)
            if i in self.compared:
                head = self.heads[self.compared.index(i)]
                total = total + head((_unit(x) - _unit(y)) ** 2).mean(dim=(1, 2, 3))
        return total


def _unit(x):
    # Added to the square, as in torchmetrics; the authors add 1e-10 to the root.
    return x / (x.square().sum(dim=1, keepdim=True) + 1e-8).sqrt()
