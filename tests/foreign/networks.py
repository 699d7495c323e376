"""Networks as strangers write them: the idioms of public repositories, small.

Every function named in `NETWORKS` builds one, as `--model networks.py:NAME` has it; `INPUTS` has
example inputs for each.
"""

# mypy: ignore-errors
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

NETWORKS = {}
INPUTS = {}


def images(channels=3, side=32):
    return (torch.randn(2, channels, side, side),)


def add(inputs=images):
    """Register a builder; `inputs` makes the tensors that its network takes."""

    def register(make):
        NETWORKS[make.__name__] = make
        INPUTS[make.__name__] = inputs
        return make

    return register


Sequential = nn.Sequential


def cbr(i, o, k=3, s=1, g=1, act=nn.ReLU):
    return Sequential(
        nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False),
        nn.BatchNorm2d(o),
        act(inplace=True) if act in (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish) else act(),
    )


class IR(nn.Module):
    def __init__(self, i, o, st, e):
        super().__init__()
        h = i * e
        self.res = st == 1 and i == o
        self.conv = Sequential(
            cbr(i, h, 1, act=nn.ReLU6),
            cbr(h, h, 3, st, h, act=nn.ReLU6),
            nn.Conv2d(h, o, 1, bias=False),
            nn.BatchNorm2d(o),
        )

    def forward(self, x):
        return x + self.conv(x) if self.res else self.conv(x)


@add()
def mbv2():
    return Sequential(
        cbr(3, 32, 3, 2, act=nn.ReLU6),
        IR(32, 32, 1, 2),
        IR(32, 48, 2, 4),
        IR(48, 48, 1, 4),
        cbr(48, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )


class SE(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc1 = nn.Conv2d(c, max(8, c // 4), 1)
        self.fc2 = nn.Conv2d(max(8, c // 4), c, 1)

    def forward(self, x):
        y = F.adaptive_avg_pool2d(x, 1)
        y = F.relu(self.fc1(y))
        return x * F.hardsigmoid(self.fc2(y))


class SEL(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc = Sequential(nn.Linear(c, c // 4), nn.ReLU(), nn.Linear(c // 4, c), nn.Sigmoid())

    def forward(self, x):
        b, c, _, _ = x.size()
        y = x.mean((2, 3)).view(b, c)
        return x * self.fc(y).view(b, c, 1, 1)


@add()
def mbv3():
    return Sequential(
        cbr(3, 32, 3, 2, act=nn.Hardswish),
        cbr(32, 64, 1, act=nn.Hardswish),
        cbr(64, 64, 3, 1, 64),
        SE(64),
        nn.Conv2d(64, 32, 1),
        nn.BatchNorm2d(32),
        cbr(32, 96, 1),
        SEL(96),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


class Dense(nn.Module):
    def __init__(self):
        super().__init__()
        self.c0 = nn.Conv2d(3, 32, 3, padding=1)
        self.l = nn.ModuleList(
            [
                Sequential(
                    nn.BatchNorm2d(32 + 16 * i),
                    nn.ReLU(),
                    nn.Conv2d(32 + 16 * i, 64, 1, bias=False),
                    nn.BatchNorm2d(64),
                    nn.ReLU(),
                    nn.Conv2d(64, 16, 3, padding=1, bias=False),
                )
                for i in range(3)
            ]
        )
        self.t = Sequential(nn.BatchNorm2d(80), nn.ReLU(), nn.Conv2d(80, 48, 1), nn.AvgPool2d(2))
        self.fc = nn.Linear(48, 10)

    def forward(self, x):
        x = self.c0(x)
        fs = [x]
        for layer in self.l:
            fs.append(layer(torch.cat(fs, 1)))
        return self.fc(F.adaptive_avg_pool2d(self.t(torch.cat(fs, 1)), 1).flatten(1))


@add()
def dense():
    return Dense()


def shuffle(x, g):
    b, c, h, w = x.data.size()
    return x.view(b, g, c // g, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)


class SU(nn.Module):
    def __init__(self, c):
        super().__init__()
        h = c // 2
        self.b = Sequential(
            cbr(h, h, 1),
            nn.Conv2d(h, h, 3, 1, 1, groups=h, bias=False),
            nn.BatchNorm2d(h),
            cbr(h, h, 1),
        )

    def forward(self, x):
        a, b = x.chunk(2, dim=1)
        return shuffle(torch.cat((a, self.b(b)), 1), 2)


@add()
def shufflev2():
    return Sequential(
        cbr(3, 64, 3, 2),
        SU(64),
        SU(64),
        cbr(64, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class SG(nn.Module):
    def __init__(self, c, g):
        super().__init__()
        self.g = g
        self.a = cbr(c, c, 1, g=g)
        self.d = nn.Conv2d(c, c, 3, 1, 1, groups=c)
        self.c = nn.Conv2d(c, c, 1, groups=g)

    def forward(self, x):
        return F.relu(x + self.c(self.d(shuffle(self.a(x), self.g))))


@add()
def shufflev1():
    return Sequential(
        cbr(3, 48, 3, 2),
        SG(48, 3),
        SG(48, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    )


@add()
def shuffle40():
    return Sequential(
        cbr(3, 64, 3, 2),
        *[SG(64, 4) for _ in range(12)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


@add()
def resnext():
    class B(nn.Module):
        def __init__(self, i, o, st):
            super().__init__()
            self.c = Sequential(
                cbr(i, 64, 1), cbr(64, 64, 3, st, 8), nn.Conv2d(64, o, 1), nn.BatchNorm2d(o)
            )
            self.d = (
                Sequential(nn.Conv2d(i, o, 1, st), nn.BatchNorm2d(o)) if st != 1 or i != o else None
            )

        def forward(self, x):
            y = self.c(x)
            y += x if self.d is None else self.d(x)
            return F.relu(y, inplace=True)

    return Sequential(
        cbr(3, 32),
        B(32, 64, 1),
        B(64, 64, 1),
        B(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.d1 = cbr(3, 32)
        self.d2 = cbr(32, 64)
        self.m = cbr(64, 128)
        self.u2 = nn.ConvTranspose2d(128, 64, 2, 2)
        self.c2 = cbr(128, 64)
        self.u1 = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.c1 = cbr(96, 32)
        self.o = nn.Conv2d(32, 2, 1)

    def forward(self, x):
        a = self.d1(x)
        b = self.d2(F.max_pool2d(a, 2))
        m = self.m(F.max_pool2d(b, 2))
        u = self.c2(torch.cat([self.u2(m), b], 1))
        return self.o(self.c1(torch.cat([self.u1(u), a], 1)))


@add()
def unet():
    return UNet()


@add(lambda: images(1, 16))
def espcn():
    return Sequential(
        nn.Conv2d(1, 64, 5, padding=2),
        nn.Tanh(),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.Tanh(),
        nn.Conv2d(32, 64 * 4, 3, padding=1),
        nn.PixelShuffle(2),
        nn.Conv2d(64, 32, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 1 * 9, 3, padding=1),
        nn.PixelShuffle(3),
    )


class VGG(nn.Module):
    def __init__(self, fix):
        super().__init__()
        self.f = Sequential(
            cbr(3, 32), nn.MaxPool2d(2), cbr(32, 64), nn.MaxPool2d(2), cbr(64, 64), nn.MaxPool2d(2)
        )
        self.c = Sequential(
            nn.Linear(64 * 16, 256), nn.ReLU(True), nn.Dropout(), nn.Linear(256, 10)
        )
        self.fix = fix

    def forward(self, x):
        x = self.f(x)
        return self.c(x.view(-1, 64 * 4 * 4) if self.fix else x.view(x.size(0), -1))


@add()
def vggview():
    return VGG(False)


@add()
def vggfix():
    return VGG(True)


class AE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = Sequential(cbr(3, 32, 3, 2), cbr(32, 64, 3, 2))
        self.l = nn.Linear(64 * 64, 64)
        self.d = nn.Linear(64, 64 * 64)
        self.u = Sequential(
            nn.ConvTranspose2d(64, 32, 2, 2), nn.ReLU(), nn.ConvTranspose2d(32, 3, 2, 2)
        )

    def forward(self, x):
        z = self.l(self.e(x).flatten(1))
        return self.u(self.d(z).view(-1, 64, 8, 8))


@add()
def ae():
    return AE()


class ViT(nn.Module):
    def __init__(self, d=64, h=4):
        super().__init__()
        self.p = nn.Conv2d(3, d, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, d))
        self.pos = nn.Parameter(torch.randn(1, 65, d))
        self.b = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "n1": nn.LayerNorm(d),
                        "qkv": nn.Linear(d, 3 * d),
                        "o": nn.Linear(d, d),
                        "n2": nn.LayerNorm(d),
                        "f1": nn.Linear(d, 4 * d),
                        "f2": nn.Linear(4 * d, d),
                    }
                )
                for _ in range(2)
            ]
        )
        self.n = nn.LayerNorm(d)
        self.h = nn.Linear(d, 10)
        self.nh = h

    def forward(self, x):
        x = self.p(x).flatten(2).transpose(1, 2)
        B = x.shape[0]
        x = torch.cat([self.cls.expand(B, -1, -1), x], 1) + self.pos
        for b in self.b:
            y = b["n1"](x)
            N = y.shape[1]
            q, k, v = b["qkv"](y).reshape(B, N, 3, self.nh, -1).permute(2, 0, 3, 1, 4)
            a = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
            y = (a @ v).transpose(1, 2).reshape(B, N, -1)
            x = x + b["o"](y)
            x = x + b["f2"](F.gelu(b["f1"](b["n2"](x))))
        return self.h(self.n(x)[:, 0])


@add()
def vit():
    return ViT()


class TE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(100, 32)
        self.t = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 128, batch_first=True), 2)
        self.f = nn.Linear(32, 4)

    def forward(self, t):
        return self.f(self.t(self.e(t)).mean(1))


@add(lambda: (torch.randint(0, 100, (2, 12)),))
def tenc():
    return TE()


class CG(nn.Module):
    def __init__(self, k):
        super().__init__()
        self.c = Sequential(
            nn.Conv1d(6, 64, 5, padding=2),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Conv1d(64, 64, 5, padding=2),
            nn.ReLU(),
        )
        self.r = getattr(nn, k)(64, 64, batch_first=True)
        self.f = nn.Linear(64, 5)

    def forward(self, x):
        y, _ = self.r(self.c(x).permute(0, 2, 1))
        return self.f(y[:, -1])


@add(lambda: (torch.randn(2, 6, 50),))
def convgru():
    return CG("GRU")


@add(lambda: (torch.randn(2, 6, 50),))
def convlstm():
    return CG("LSTM")


class Mixer(nn.Module):
    def __init__(self, d=64, t=16):
        super().__init__()
        self.p = nn.Conv2d(3, d, 8, 8)
        self.b = nn.ModuleList(
            [
                nn.ModuleDict(
                    {
                        "n1": nn.LayerNorm(d),
                        "t1": nn.Linear(t, 128),
                        "t2": nn.Linear(128, t),
                        "n2": nn.LayerNorm(d),
                        "c1": nn.Linear(d, 256),
                        "c2": nn.Linear(256, d),
                    }
                )
                for _ in range(2)
            ]
        )
        self.h = nn.Linear(d, 10)

    def forward(self, x):
        x = self.p(x).flatten(2).transpose(1, 2)
        for b in self.b:
            x = x + b["t2"](F.gelu(b["t1"](b["n1"](x).transpose(1, 2)))).transpose(1, 2)
            x = x + b["c2"](F.gelu(b["c1"](b["n2"](x))))
        return self.h(x.mean(1))


@add()
def mixer():
    return Mixer()


class CN(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.st = nn.Conv2d(3, d, 4, 4)
        self.dw = nn.Conv2d(d, d, 7, padding=3, groups=d)
        self.n = nn.LayerNorm(d)
        self.p1 = nn.Linear(d, 4 * d)
        self.p2 = nn.Linear(4 * d, d)
        self.g = nn.Parameter(1e-1 * torch.ones(d))
        self.h = nn.Linear(d, 10)

    def forward(self, x):
        x = self.st(x)
        y = self.dw(x).permute(0, 2, 3, 1)
        y = self.p2(F.gelu(self.p1(self.n(y))))
        y = (self.g * y).permute(0, 3, 1, 2)
        return self.h((x + y).mean([-2, -1]))


@add()
def convnext():
    return CN()


class CBAM(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.m = Sequential(nn.Linear(c, 16), nn.ReLU(), nn.Linear(16, c))
        self.sp = nn.Conv2d(2, 1, 7, padding=3)

    def forward(self, x):
        a = self.m(x.mean((2, 3))) + self.m(x.amax((2, 3)))
        x = x * torch.sigmoid(a)[:, :, None, None]
        y = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return x * torch.sigmoid(self.sp(y))


@add()
def cbam():
    return Sequential(
        cbr(3, 64),
        CBAM(64),
        cbr(64, 96, 3, 2),
        cbr(96, 96),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


@add()
def spectral():
    return Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 32, 3)),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3),
        nn.ReLU(),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(64, 64, 3)),
        nn.ReLU(),
        nn.Conv2d(64, 64, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Siam(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = Sequential(
            cbr(1, 32), nn.MaxPool2d(2), cbr(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.f = nn.Linear(128, 3)

    def forward(self, a, b):
        return self.f(torch.cat([self.t(a), self.t(b)], 1))


@add(lambda: (torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16)))
def siamese():
    return Siam()


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.i = nn.Conv2d(3, 32, 3, padding=1)
        self.c = nn.Conv2d(32, 32, 3, padding=1)
        self.b = nn.BatchNorm2d(32)
        self.o = nn.Linear(32, 4)

    def forward(self, x):
        x = F.relu(self.i(x))
        for _ in range(3):
            x = F.relu(self.b(self.c(x))) + x
        return self.o(x.mean((2, 3)))


@add()
def twice():
    return Twice()


class GLUN(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv1d(4, 64, 5)
        self.b = nn.Conv1d(32, 64, 5, groups=2)
        self.n = nn.GroupNorm(8, 32)
        self.f = nn.Linear(32, 4)

    def forward(self, x):
        x = self.n(F.glu(self.a(x), 1))
        u, v = torch.chunk(self.b(x), 2, 1)
        return self.f((torch.tanh(u) * torch.sigmoid(v)).amax(-1))


@add(lambda: (torch.randn(2, 4, 60),))
def glu():
    return GLUN()


class Pad(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = cbr(3, 32)
        self.b = cbr(32, 64, 3, 2)
        self.c = cbr(64, 64)
        self.f = nn.Linear(64, 10)

    def forward(self, x):
        x = self.a(x)
        y = self.b(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 16, 16))
        return self.f(self.c(y).mean((2, 3)))


@add()
def optA():
    return Pad()


class Incep(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.a = cbr(i, 16, 1)
        self.b = Sequential(cbr(i, 24, 1), cbr(24, 32, 3))
        self.c = Sequential(nn.MaxPool2d(3, 1, 1), cbr(i, 16, 1))

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x)], dim=1)


@add()
def incep():
    return Sequential(
        cbr(3, 32),
        Incep(32),
        Incep(64),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Ghost(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.p = cbr(i, o // 2, 1)
        self.c = cbr(o // 2, o // 2, 3, 1, o // 2)
        self.o = o

    def forward(self, x):
        a = self.p(x)
        return torch.cat([a, self.c(a)], 1)[:, : self.o, :, :]


@add()
def ghost():
    return Sequential(
        cbr(3, 32),
        Ghost(32, 64),
        Ghost(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = Sequential(cbr(3, 32), cbr(32, 64, 3, 2))
        self.i = nn.Linear(5, 32)
        self.h = nn.Linear(96, 64)
        self.o1 = nn.Linear(64, 3)
        self.o2 = nn.Linear(64, 4)

    def forward(self, img, meta):
        h = F.relu(self.h(torch.cat((self.c(img).mean((2, 3)), F.relu(self.i(meta))), -1)))
        return {"a": self.o1(h), "b": self.o2(h)}


@add(lambda: (torch.randn(2, 3, 16, 16), torch.randn(2, 5)))
def twoio():
    return Two()


@add(lambda: (torch.randn(2, 3, 16, 16).half(),))
def half():
    return Sequential(
        cbr(3, 32), cbr(32, 64, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    ).half()


@add(lambda: (torch.randn(2, 1, 8, 8),))
def mlp():
    return Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.LayerNorm(128),
        nn.GELU(),
        nn.Linear(128, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, 5),
    )


@add(lambda: images(1))
def narrow():
    return Sequential(
        cbr(1, 8), cbr(8, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    )


class TCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.ModuleList(
            [
                nn.utils.weight_norm(
                    nn.Conv1d(8 if i == 0 else 32, 32, 3, padding=2 * 2**i, dilation=2**i)
                )
                for i in range(3)
            ]
        )
        self.d = nn.Conv1d(8, 32, 1)
        self.f = nn.Linear(32, 2)

    def forward(self, x):
        y = x
        for _i, c in enumerate(self.c):
            y = F.relu(c(y)[:, :, : x.shape[2]])
        return self.f((y + self.d(x))[:, :, -1])


@add(lambda: (torch.randn(2, 8, 40),))
def tcn():
    return TCN()


class Ein(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = cbr(3, 32)
        self.w = nn.Parameter(torch.randn(32, 48))
        self.f = nn.Linear(48, 5)
        self.c2 = cbr(32, 32)

    def forward(self, x):
        x = self.c2(self.c(x))
        return self.f(torch.einsum("bchw,cd->bd", x, self.w))


@add()
def einsum():
    return Ein()


class NF(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 32, 3, padding=1)
        self.b = nn.Conv2d(32, 32, 3, padding=1)
        self.f = nn.Linear(32, 5)
        self.n = nn.InstanceNorm2d(32, affine=True)

    def forward(self, x):
        x = self.n(self.a(x))
        w = self.b.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return self.f(F.relu(F.conv2d(x, w, self.b.bias, padding=1)).mean((2, 3)))


@add()
def wstd():
    return NF()


class StochasticDepth(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        keep = torch.rand(x.shape[0], 1, 1, 1, device=x.device) >= self.p
        return x * keep / (1 - self.p)


class MB(nn.Module):
    def __init__(self, c, e=4):
        super().__init__()
        h = c * e
        self.expand = cbr(c, h, 1, act=nn.SiLU)
        self.dw = cbr(h, h, 3, 1, h, act=nn.SiLU)
        self.se = SE(h)
        self.project = Sequential(nn.Conv2d(h, c, 1, bias=False), nn.BatchNorm2d(c))
        self.drop = StochasticDepth(0.1)

    def forward(self, x):
        return self.drop(self.project(self.se(self.dw(self.expand(x))))) + x


@add()
def effnet():
    return Sequential(
        cbr(3, 32, 3, 2, act=nn.SiLU),
        MB(32),
        MB(32),
        cbr(32, 128, 1, act=nn.SiLU),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(128, 10),
    )


def windows(x, w):
    b, height, width, c = x.shape
    x = x.view(b, height // w, w, width // w, w, c)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, w * w, c)


def unwindows(x, w, height, width):
    b = int(x.shape[0] / (height * width / w / w))
    x = x.view(b, height // w, width // w, w, w, -1)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(b, height, width, -1)


class SwinBlock(nn.Module):
    def __init__(self, d, heads, w, shift):
        super().__init__()
        self.d, self.heads, self.w, self.shift = d, heads, w, shift
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.table = nn.Parameter(torch.zeros((2 * w - 1) ** 2, heads))
        c = torch.stack(torch.meshgrid(torch.arange(w), torch.arange(w), indexing="ij")).flatten(1)
        rel = (c[:, :, None] - c[:, None, :]).permute(1, 2, 0) + w - 1
        self.register_buffer("index", rel[:, :, 0] * (2 * w - 1) + rel[:, :, 1])

    def forward(self, x):
        _, height, width, c = x.shape
        y = self.n1(x)
        if self.shift:
            y = torch.roll(y, (-self.shift, -self.shift), (1, 2))
        y = windows(y, self.w)
        n = self.w * self.w
        q, k, v = self.qkv(y).reshape(-1, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        bias = self.table[self.index.view(-1)].view(n, n, -1).permute(2, 0, 1)
        a = (q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5 + bias[None]).softmax(-1)
        y = self.proj((a @ v).transpose(1, 2).reshape(-1, n, c))
        y = unwindows(y, self.w, height, width)
        if self.shift:
            y = torch.roll(y, (self.shift, self.shift), (1, 2))
        x = x + y
        return x + self.mlp(self.n2(x))


class Swin(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.p = nn.Conv2d(3, d, 4, 4)
        self.b = Sequential(SwinBlock(d, 4, 4, 0), SwinBlock(d, 4, 4, 2))
        self.merge = nn.Linear(4 * d, 2 * d, bias=False)
        self.n, self.h = nn.LayerNorm(2 * d), nn.Linear(2 * d, 10)

    def forward(self, x):
        x = self.b(self.p(x).permute(0, 2, 3, 1))
        parts = [x[:, i::2, j::2, :] for j in (0, 1) for i in (0, 1)]
        return self.h(self.n(self.merge(torch.cat(parts, -1))).mean((1, 2)))


@add()
def swin():
    return Swin()


class Rep(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a = Sequential(nn.Conv2d(c, c, 3, padding=1, bias=False), nn.BatchNorm2d(c))
        self.b = Sequential(nn.Conv2d(c, c, 1, bias=False), nn.BatchNorm2d(c))
        self.i = nn.BatchNorm2d(c)

    def forward(self, x):
        return F.relu(self.a(x) + self.b(x) + self.i(x))


@add()
def repvgg():
    return Sequential(
        cbr(3, 48, 3, 2), Rep(48), cbr(48, 96, 3, 2), Rep(96), Head(96, 10, pool="avg")
    )


class Head(nn.Module):
    def __init__(self, c, classes, pool):
        super().__init__()
        self.pool = {"avg": F.adaptive_avg_pool2d, "max": F.adaptive_max_pool2d}[pool]
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        return self.fc(self.pool(x, 1)[:, :, 0, 0])


class FPN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2, self.c3 = cbr(3, 32, 3, 2), cbr(32, 64, 3, 2), cbr(64, 96, 3, 2)
        self.l1, self.l2, self.l3 = (nn.Conv2d(c, 48, 1) for c in (32, 64, 96))
        self.s = nn.ModuleList([nn.Conv2d(48, 48, 3, padding=1) for _ in range(3)])
        self.h = nn.Linear(3 * 48, 10)

    def forward(self, x):
        a = self.c1(x)
        b = self.c2(a)
        c = self.l3(self.c3(b))
        b = self.l2(b) + F.interpolate(c, size=b.shape[-2:], mode="nearest")
        a = self.l1(a) + F.interpolate(b, scale_factor=2, mode="bilinear", align_corners=False)
        return self.h(
            torch.cat([s(f).mean((2, 3)) for s, f in zip(self.s, (a, b, c), strict=True)], 1)
        )


@add()
def fpn():
    return FPN()


@add()
def lazy():
    return Sequential(
        nn.LazyConv2d(32, 3, 2, 1),
        nn.LazyBatchNorm2d(),
        nn.ReLU(),
        nn.LazyConv2d(64, 3, 2, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(10),
    )


class Aux(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = Sequential(cbr(3, 32, 3, 2), cbr(32, 64, 3, 2))
        self.b = cbr(64, 64)
        self.head, self.second = nn.Linear(64, 10), nn.Linear(64, 10)

    def forward(self, x):
        x = self.a(x)
        y = self.head(self.b(x).mean((2, 3)))
        if self.training:
            return y, self.second(x.mean((2, 3)))
        return y


@add()
def auxhead():
    return Aux()


@add()
def frozen():
    net = Sequential(
        cbr(3, 32, 3, 2),
        cbr(32, 64, 3, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    for parameter in net[0].parameters():
        parameter.requires_grad = False
    return net


class Branchy(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = cbr(3, 32, 3, 2), cbr(32, 32)
        self.h = nn.Linear(32, 10)

    def forward(self, x):
        x = self.a(x)
        if x.mean() > 0.4:
            x = self.b(x)
        return self.h(x.mean((2, 3)))


@add()
def branchy():
    return Branchy()


class SwishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s * (1 + x * (1 - s)))


class Swish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


@add()
def ownswish():
    return Sequential(
        cbr(3, 32, 3, 2, act=Swish),
        cbr(32, 64, 3, 2, act=Swish),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )


class Bert(nn.Module):
    def __init__(self, d=64):
        super().__init__()
        self.e = nn.Embedding(100, d, padding_idx=0)
        self.p = nn.Embedding(32, d)
        self.a = nn.MultiheadAttention(d, 4, batch_first=True)
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.f = Sequential(nn.Linear(d, 256), nn.GELU(), nn.Linear(256, d))
        self.h = nn.Linear(d, 4)

    def forward(self, ids):
        pad = ids == 0
        x = self.e(ids) + self.p(torch.arange(ids.shape[1], device=ids.device))
        x = self.n1(x + self.a(x, x, x, key_padding_mask=pad, need_weights=False)[0])
        x = self.n2(x + self.f(x))
        w = (~pad).unsqueeze(-1).float()
        return self.h((x * w).sum(1) / w.sum(1).clamp(min=1))


@add(lambda: (torch.randint(1, 100, (2, 12)),))
def bert():
    return Bert()


class BiLSTM(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.LSTM(8, 48, 2, batch_first=True, bidirectional=True)
        self.fc1, self.fc2 = nn.Linear(96, 256), nn.Linear(256, 3)

    def forward(self, x):
        _, (h, _) = self.body(x)
        return self.fc2(F.relu(self.fc1(torch.cat([h[-2], h[-1]], 1))))


@add(lambda: (torch.randn(2, 12, 8),))
def bilstm():
    return BiLSTM()


class Res2(nn.Module):
    def __init__(self, c=64):
        super().__init__()
        self.i, self.o = cbr(c, c, 1), nn.Conv2d(c, c, 1)
        self.s = nn.ModuleList([cbr(c // 4, c // 4) for _ in range(3)])

    def forward(self, x):
        parts = torch.split(self.i(x), x.shape[1] // 4, 1)
        out, last = [parts[0]], None
        for part, layer in zip(parts[1:], self.s, strict=True):
            last = layer(part if last is None else part + last)
            out.append(last)
        return F.relu_(self.o(torch.cat(out, 1)) + x)


@add()
def res2net():
    return Sequential(cbr(3, 64, 3, 2), Res2(), Res2(), Head(64, 10, pool="max"))


@add(lambda: (torch.randn(2, 1, 8, 16, 16),))
def video():
    return Sequential(
        nn.Conv3d(1, 32, 3, (1, 2, 2), 1),
        nn.BatchNorm3d(32),
        nn.ReLU(True),
        nn.Conv3d(32, 64, 3, 2, 1),
        nn.ReLU(True),
        nn.AdaptiveAvgPool3d(1),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


class PreAct(nn.Module):
    def __init__(self, c=48):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.stem = nn.Conv2d(3, c, 3, 2, 1)
        self.n1, self.n2 = nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.c1, self.c2 = nn.Conv2d(c, c, 3, 1, 1), nn.Conv2d(c, c, 3, 1, 1)
        self.scale = nn.Parameter(torch.ones(1))
        self.h = nn.Linear(c, 10)

    def forward(self, x):
        x = self.stem(x - self.mean)
        y = self.c1(F.relu(self.n1(x)))
        y = F.dropout2d(F.relu_(self.n2(y)), 0.1, self.training)
        y = self.c2(y).mul_(self.scale)
        x = x.add_(y)
        return self.h(F.avg_pool2d(x, x.size()[2:]).squeeze(3).squeeze(2))


@add()
def preact():
    return PreAct()


class Tabular(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.ModuleList([nn.Embedding(n, 8) for n in (10, 20, 5)])
        self.n = nn.BatchNorm1d(6)
        self.f = Sequential(
            nn.Linear(30, 128), nn.ReLU(), nn.BatchNorm1d(128), nn.Linear(128, 64), nn.ReLU()
        )
        self.h = nn.Linear(64, 3)

    def forward(self, kinds, numbers):
        parts = [e(kinds[:, i]) for i, e in enumerate(self.e)]
        return self.h(self.f(torch.cat([*parts, self.n(numbers)], 1)))


@add(lambda: (torch.randint(0, 5, (2, 3)), torch.randn(2, 6)))
def tabular():
    return Tabular()


class CRNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = Sequential(cbr(1, 32), nn.MaxPool2d(2), cbr(32, 64), nn.MaxPool2d((4, 1)))
        self.r = nn.GRU(64 * 2, 48, batch_first=True, bidirectional=True)
        self.h = nn.Linear(96, 5)

    def forward(self, x):
        x = self.c(x)
        b, c, h, w = x.size()
        x = x.permute(0, 3, 1, 2).reshape(b, w, c * h)
        return self.h(self.r(x)[0].mean(1))


@add(lambda: images(1, 16))
def crnn():
    return CRNN()


class LN2d(nn.LayerNorm):
    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@add()
def unshuffle():
    return Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, 64, 3, padding=1),
        LN2d(64),
        nn.GELU(),
        nn.Conv2d(64, 96, 3, 2, 1),
        LN2d(96),
        nn.GELU(),
        nn.Conv2d(96, 10, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Linear(64, 96, bias=False)
        self.f = Sequential(nn.Linear(96, 128), nn.Tanh(), nn.Linear(128, 96))
        self.h = nn.Linear(64, 4)

    def forward(self, x):
        z = self.f(self.w(x))
        return self.h(F.linear(F.relu(z), self.w.weight.t()))


@add(lambda: (torch.randn(2, 64),))
def tied():
    return Tied()
