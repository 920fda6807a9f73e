"""What a layer says of its plain form: believed of the class that says it, and of no other."""

import keras
import numpy as np
import pytest
from keras import ops
from reference import array

import lipkit
from lipkit import layers as ll
from lipkit.certifier import as_exported, register_rule


def model_of(layer, shape=(6,)):
    return keras.Sequential([keras.Input(shape), layer])


class Triple(ll.Exported, keras.layers.Layer):
    def call(self, inputs):
        return 3.0 * inputs

    to_vanilla = call


class TripleBeside(ll.LipschitzLayer, keras.layers.Layer):
    """A block of one's own."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.beside = keras.Sequential([keras.Input((6,)), ll.SpectralDense(6)])

    @property
    def vanilla_inner(self):
        return self.beside

    def call(self, inputs):
        return self.to_vanilla(inputs, self.beside)

    def to_vanilla(self, inputs, inner):
        return 2.0 * inputs + inner(inputs)


class Sixfold(Triple):
    def call(self, inputs):
        return 2.0 * super().call(inputs)

    to_vanilla = call


class SaysNothingNew(Triple):
    pass


class Louder(Triple):
    def call(self, inputs):
        return 100.0 * super().call(inputs)


class SteepActivation(ll.PReLUlip):
    def _activate(self, x):
        return 100.0 * super()._activate(x)


class SteepAverage(ll.ScaledAveragePooling2D):
    def call(self, inputs):
        return 100.0 * super().call(inputs)


class SteepBlock(ll.ScaledResidual):
    def _merge(self, x, y, plain):
        return 100.0 * super()._merge(x, y, plain)


class SteepInputs(ll.SpectralConv2D):
    def vanilla_inputs(self, inputs):
        return 100.0 * super().vanilla_inputs(inputs)


@pytest.mark.parametrize(("layer", "constant"), [(Triple, 3), (TripleBeside, 3), (Sixfold, 6)])
def test_what_a_class_says_itself_needs_no_rule(layer, constant, rng):
    model = model_of(layer())
    assert float(lipkit.lipschitz_bound(model)) == pytest.approx(constant, rel=1e-4)
    x = rng.standard_normal((5, 6)).astype("float32")
    plain = lipkit.vanillaModel(model)
    assert all(type(part).__module__.startswith("keras.") for part in plain.layers)
    np.testing.assert_allclose(array(plain(x)), array(model(x)), rtol=1e-6)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (SaysNothingNew, (6,)),
        (Louder, (6,)),
        (SteepActivation, (6,)),
        (SteepAverage, (4, 4, 2)),
        (lambda: SteepBlock(keras.layers.Identity()), (6,)),
        (lambda: SteepInputs(3, 3), (4, 4, 2)),
    ],
)
def test_a_subclass_that_inherits_what_it_says_is_refused(make, shape):
    layer = make()
    with pytest.raises(lipkit.NotCertifiable, match=f"{type(layer).__name__}.*no Lipschitz rule"):
        lipkit.lipschitz_bound(model_of(layer, shape))


def test_a_subclass_may_be_registered_as_exported_and_is_compared():
    class Same(Triple):
        pass

    class Steeper(Triple):
        def call(self, inputs):
            return 100.0 * super().call(inputs)

    register_rule(Same, Steeper)(as_exported)
    assert float(lipkit.lipschitz_bound(model_of(Same()))) == pytest.approx(3)
    with pytest.raises(lipkit.NotCertifiable, match="differ"):
        lipkit.lipschitz_bound(model_of(Steeper()))


@pytest.mark.parametrize("layer", [keras.layers.Dense, ll.SpectralDense])
def test_only_what_says_operations_is_registered_as_exported(layer):
    with pytest.raises(ValueError, match="`as_exported` needs .* `to_vanilla`"):
        register_rule(layer)(as_exported)


def test_an_instance_with_a_form_of_its_own_is_refused():
    layer = Triple()
    layer.to_vanilla = lambda x: ops.zeros_like(x)
    with pytest.raises(ValueError, match="to_vanilla"):
        lipkit.lipschitz_bound(model_of(layer))
