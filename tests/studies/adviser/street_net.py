"""A network that rfkit does not ship, written as somebody might have written it."""

import torch.nn.functional as F
from torch import nn


class Basic(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        y += self.shortcut(x)
        return F.relu(y)


class StreetNet(nn.Module):
    """Residual blocks at 1/4 and 1/8, a decoder with a block of its own."""

    def __init__(self, num_classes=11, width=8):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        )
        self.layer1 = nn.Sequential(Basic(width, width), Basic(width, width))
        self.layer2 = nn.Sequential(Basic(width, 2 * width, 2), Basic(2 * width, 2 * width))
        self.refine = Basic(2 * width, 2 * width)
        self.classifier = nn.Conv2d(2 * width, num_classes, 1)

    def forward(self, image):
        high = self.layer2(self.layer1(self.stem(image)))
        high = self.refine(F.interpolate(high, scale_factor=2, mode="bilinear", align_corners=False))
        return F.interpolate(self.classifier(high), image.shape[-2:], mode="bilinear", align_corners=False)


def make(num_classes=11, width=8):
    return StreetNet(num_classes, width)
