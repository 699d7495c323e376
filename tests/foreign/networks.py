"""Networks as strangers write them: the idioms of public repositories, small.

`NETWORKS` maps a name to a function that returns a network and example inputs for it.
"""

# mypy: ignore-errors
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

NETWORKS = {}


def add(make):
    NETWORKS[make.__name__] = make
    return make


Sequential = nn.Sequential


def cbr(i, o, k=3, s=1, g=1, act=nn.ReLU):
    return Sequential(
        nn.Conv2d(i, o, k, s, k // 2, groups=g, bias=False),
        nn.BatchNorm2d(o),
        act(inplace=True) if act in (nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish) else act(),
    )


def images(channels=3, side=32):
    return (torch.randn(2, channels, side, side),)


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


@add
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
    ), images()


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


@add
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
    ), images()


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


@add
def dense():
    return Dense(), images()


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


@add
def shufflev2():
    return Sequential(
        cbr(3, 64, 3, 2),
        SU(64),
        SU(64),
        cbr(64, 128, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    ), images()


class SG(nn.Module):
    def __init__(self, c, g):
        super().__init__()
        self.g = g
        self.a = cbr(c, c, 1, g=g)
        self.d = nn.Conv2d(c, c, 3, 1, 1, groups=c)
        self.c = nn.Conv2d(c, c, 1, groups=g)

    def forward(self, x):
        return F.relu(x + self.c(self.d(shuffle(self.a(x), self.g))))


@add
def shufflev1():
    return Sequential(
        cbr(3, 48, 3, 2),
        SG(48, 3),
        SG(48, 3),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(48, 10),
    ), images()


@add
def shuffle40():
    return Sequential(
        cbr(3, 64, 3, 2),
        *[SG(64, 4) for _ in range(12)],
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ), images()


@add
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
    ), images()


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


@add
def unet():
    return UNet(), images()


@add
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
    ), images(1, 16)


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


@add
def vggview():
    return VGG(False), images()


@add
def vggfix():
    return VGG(True), images()


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


@add
def ae():
    return AE(), images()


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


@add
def vit():
    return ViT(), images()


class TE(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(100, 32)
        self.t = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 128, batch_first=True), 2)
        self.f = nn.Linear(32, 4)

    def forward(self, t):
        return self.f(self.t(self.e(t)).mean(1))


@add
def tenc():
    return TE(), (torch.randint(0, 100, (2, 12)),)


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


@add
def convgru():
    return CG("GRU"), (torch.randn(2, 6, 50),)


@add
def convlstm():
    return CG("LSTM"), (torch.randn(2, 6, 50),)


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


@add
def mixer():
    return Mixer(), images()


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


@add
def convnext():
    return CN(), images()


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


@add
def cbam():
    return Sequential(
        cbr(3, 64),
        CBAM(64),
        cbr(64, 96, 3, 2),
        cbr(96, 96),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    ), images()


@add
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
    ), images()


class Siam(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = Sequential(
            cbr(1, 32), nn.MaxPool2d(2), cbr(32, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.f = nn.Linear(128, 3)

    def forward(self, a, b):
        return self.f(torch.cat([self.t(a), self.t(b)], 1))


@add
def siamese():
    return Siam(), (torch.randn(2, 1, 16, 16), torch.randn(2, 1, 16, 16))


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


@add
def twice():
    return Twice(), images()


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


@add
def glu():
    return GLUN(), (torch.randn(2, 4, 60),)


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


@add
def optA():
    return Pad(), images()


class Incep(nn.Module):
    def __init__(self, i):
        super().__init__()
        self.a = cbr(i, 16, 1)
        self.b = Sequential(cbr(i, 24, 1), cbr(24, 32, 3))
        self.c = Sequential(nn.MaxPool2d(3, 1, 1), cbr(i, 16, 1))

    def forward(self, x):
        return torch.cat([self.a(x), self.b(x), self.c(x)], dim=1)


@add
def incep():
    return Sequential(
        cbr(3, 32),
        Incep(32),
        Incep(64),
        nn.AdaptiveAvgPool2d((1, 1)),
        nn.Flatten(),
        nn.Linear(64, 10),
    ), images()


class Ghost(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.p = cbr(i, o // 2, 1)
        self.c = cbr(o // 2, o // 2, 3, 1, o // 2)
        self.o = o

    def forward(self, x):
        a = self.p(x)
        return torch.cat([a, self.c(a)], 1)[:, : self.o, :, :]


@add
def ghost():
    return Sequential(
        cbr(3, 32),
        Ghost(32, 64),
        Ghost(64, 64),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ), images()


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


@add
def twoio():
    return Two(), (torch.randn(2, 3, 16, 16), torch.randn(2, 5))


@add
def half():
    return Sequential(
        cbr(3, 32), cbr(32, 64, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)
    ).half(), (torch.randn(2, 3, 16, 16).half(),)


@add
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
    ), (torch.randn(2, 1, 8, 8),)


@add
def narrow():
    return Sequential(
        cbr(1, 8), cbr(8, 16, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    ), images(1)


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


@add
def tcn():
    return TCN(), (torch.randn(2, 8, 40),)


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


@add
def einsum():
    return Ein(), images()


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


@add
def wstd():
    return NF(), images()
