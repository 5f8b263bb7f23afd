"""The scan as numba compiles it: sixteen channels side by side in one SIMD vector, states in the innermost cache.

The vector is a type of our own. Its arithmetic becomes LLVM's vector instructions directly, so that the speed does not
depend on whether some release of LLVM vectorises a loop. Importing this module imports numba; `compiled.py` does so at
the first scan. All of it is in one file, because numba's cache notices changes of this file only.
"""

from __future__ import annotations

import operator

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, models, overload, register_model

WIDTH = 16  # lanes; LLVM splits them where registers are narrower
BLOCK = 4  # vectors that advance together: their rows are neighbours in memory
_FLOATS, _INTS = ir.VectorType(ir.FloatType(), WIDTH), ir.VectorType(ir.IntType(32), WIDTH)
_FUSE = ("contract",)  # a product and a sum may become one fused multiply-add; nothing else is relaxed


class Lanes(types.Type):
    """Type of a vector inside compiled code; it cannot be passed in or out."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


LANES = Lanes()


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager, kind):
        super().__init__(manager, kind, _FLOATS)


def _address(context, builder, kind, array, index):
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


@intrinsic
def load(typing, array, index):
    """Sixteen neighbours of an array. No bounds are checked.

    Args:
        typing: numba's typing context.
        array: float32, C-contiguous.
        index: flat index of the first.
    """

    def generate(context, builder, signature, arguments):
        return builder.load(_address(context, builder, signature.args[0], *arguments), align=4)

    return LANES(array, types.intp), generate


@intrinsic
def store(typing, array, index, value):
    """Inverse of `load`.

    Args:
        typing: numba's typing context.
        array: float32, C-contiguous.
        index: flat index of the first.
        value: the vector to write.
    """

    def generate(context, builder, signature, arguments):
        target, at, lanes = arguments
        builder.store(lanes, _address(context, builder, signature.args[0], target, at), align=4)
        return context.get_dummy_value()

    return types.void(array, types.intp, LANES), generate


@intrinsic
def splat(typing, value):
    """One float32 in every lane."""

    def generate(context, builder, signature, arguments):
        return _constant(builder, arguments[0])

    return LANES(types.float32), generate


def _constant(builder, value):
    first = builder.insert_element(ir.Constant(_FLOATS, ir.Undefined), value, ir.IntType(32)(0))
    return builder.shuffle_vector(first, ir.Constant(_FLOATS, ir.Undefined), ir.Constant(_INTS, [0] * WIDTH))


@intrinsic
def maximum(typing, a, b):
    """Larger of each pair of lanes."""

    def generate(context, builder, signature, arguments):
        a, b = arguments
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return LANES(LANES, LANES), generate


@intrinsic
def add_to_exponent(typing, value, bits):
    """value times 2 ** n, n being the low bits of the mantissa of `bits` (see `exp2`)."""

    def generate(context, builder, signature, arguments):
        value, bits = (builder.bitcast(x, _INTS) for x in arguments)
        shift = ir.Constant(_INTS, [23] * WIDTH)
        return builder.bitcast(builder.add(value, builder.shl(bits, shift)), _FLOATS)

    return LANES(LANES, LANES), generate


def _arithmetic(instruction: str):
    @intrinsic
    def apply(typing, a, b):
        def generate(context, builder, signature, arguments):
            return getattr(builder, instruction)(*arguments, flags=_FUSE)

        return LANES(LANES, LANES), generate

    return apply


def _overload(symbol, instruction: str) -> None:
    apply = _arithmetic(instruction)

    @overload(symbol)
    def choose(a, b):
        if isinstance(a, Lanes) and isinstance(b, Lanes):
            return lambda a, b: apply(a, b)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _overload(_symbol, _instruction)


# ---- the function

f = np.float32
LOG2E, ROUND = f(1.4426950408889634), f(1.5 * 2**23)  # adding ROUND leaves no bits for a fraction
# 2 ** r for |r| <= 1/2: the polynomial of least relative error (3e-9, so that rounding alone is left) among those that
# start as 1 + r ln 2: decays near 1 stay what they are over thousands of steps.
EXP2 = tuple(map(f, (0.6931471805599453, 0.2402264754975875, 0.05550362252593509, 0.00961852630481345,
                     0.001339016148805629, 0.00015321154582944522)))  # fmt: skip


@njit(inline="always")
def exp2(x):
    """2 ** x; below -126 it is 2 ** -126, which is nothing to a state."""
    x = maximum(x, splat(f(-126.0)))
    bits = x + splat(ROUND)  # the whole part, in the low bits
    r = x - (bits - splat(ROUND))
    p = splat(EXP2[5])
    p = p * r + splat(EXP2[4])
    p = p * r + splat(EXP2[3])
    p = p * r + splat(EXP2[2])
    p = p * r + splat(EXP2[1])
    p = p * r + splat(EXP2[0])
    return add_to_exponent(p * r + splat(f(1.0)), bits)


@njit(inline="always")
def softplus(x):
    """log(1 + e ** x) = max(x, 0) + log(1 + z), z = e ** -|x|; the logarithm by its series in z / (2 + z) <= 1/3."""
    zero = splat(f(0.0))
    z = exp2((zero - maximum(x, zero - x)) * splat(LOG2E))
    s = z / (splat(f(2.0)) + z)
    q = s * s
    p = splat(f(1 / 13))
    p = p * q + splat(f(1 / 11))
    p = p * q + splat(f(1 / 9))
    p = p * q + splat(f(1 / 7))
    p = p * q + splat(f(1 / 5))
    p = p * q + splat(f(1 / 3))
    return maximum(x, zero) + (s + s) * (p * q + splat(f(1.0)))


def scan(u, delta, a, b, c, skip, bias, apply_softplus, h, y, first, last):
    """The scan of the vectors `first` to `last` of the batch, channels counted on over its samples.

    It is not compiled yet: `compiled.py` does that, with a cache. All arrays are float32 and C-contiguous. dim is a
    multiple of 16.

    Args:
        u: (batch, length, dim).
        delta: (batch, length, dim).
        a: (dim / 16, state, 16), times log2(e).
        b: (batch, length, state).
        c: (batch, length, state).
        skip: (dim,), the D of `selective_scan`.
        bias: (dim,), added to delta.
        apply_softplus: apply softplus to delta after its bias.
        h: (batch * dim / 16, state, 16), the states; changed in place.
        y: (batch, length, dim), the output; written in place.
        first: index of the first vector.
        last: index after the last vector.
    """
    length, dim, state = u.shape[1], u.shape[2], b.shape[2]
    vectors = dim // WIDTH
    while first < last:
        sample, group = first // vectors, first % vectors
        block = min(BLOCK, last - first, vectors - group)
        for t in range(length):
            row = (sample * length + t) * dim + group * WIDTH
            for v in range(block):
                at = row + v * WIDTH
                channel = (group + v) * WIDTH
                x = load(u, at)
                step = load(delta, at) + load(bias, channel)
                if apply_softplus:
                    step = softplus(step)
                drive = step * x
                total = load(skip, channel) * x
                decays = (group + v) * state * WIDTH
                states = (first + v) * state * WIDTH
                for n in range(state):
                    now = exp2(step * load(a, decays + n * WIDTH)) * load(h, states + n * WIDTH)
                    now = now + drive * splat(b[sample, t, n])
                    store(h, states + n * WIDTH, now)
                    total = total + now * splat(c[sample, t, n])
                store(y, at, total)
        first += block


_1, _3 = types.float32[::1], types.float32[:, :, ::1]
SIGNATURE = types.void(_3, _3, _3, _3, _3, _1, _1, types.boolean, _3, _3, types.intp, types.intp)
