"""Losses in steps that TensorFlow runs on several devices, each with its share of the batch."""

import keras

REPLICAS = """
import keras, lipkit, numpy as np, tensorflow as tf
from lipkit import losses

(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategies = [tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"][:n]) for n in (1, 2)]
rng = np.random.default_rng(0)
f = rng.standard_normal((16, 4)).astype("float32")
c = (np.arange(16) * 3 // 16).astype("float32")  # classes of which a replica has none, or all
w = rng.uniform(0.2, 3, 16).astype("float32")

def value_and_gradient(strategy, loss, columns, w):
    n = strategy.num_replicas_in_sync
    def shares(x):
        parts = np.split(x, n)
        return strategy.experimental_distribute_values_from_function(
            lambda context: tf.constant(parts[context.replica_id_in_sync_group]))
    def on_replica(c, f, w):
        y = c if columns > 1 else tf.cast(c < 1, tf.float32)[:, None]
        with tf.GradientTape() as tape:
            tape.watch(f)
            value = loss(y, f, w)
        return value, tape.gradient(value, f)
    arguments = map(shares, (c, f[:, :columns], w))
    values, gradients = strategy.run(on_replica, args=tuple(arguments))
    results = map(strategy.experimental_local_results, (values, gradients))
    return sum(v.numpy() for v in next(results)), np.concatenate([g.numpy() for g in next(results)])

for name, columns in (("KR", 1), ("HKR", 1), ("MulticlassHKR", 4), ("MulticlassSoftHKR", 4)):
    for reduction in ("sum_over_batch_size", "sum", "mean_with_sample_weight"):
        loss = getattr(losses, name)(reduction=reduction)
        one, two = (value_and_gradient(s, loss, columns, w) for s in strategies)
        np.testing.assert_allclose(two[0], one[0], rtol=1e-5, err_msg=name)
        np.testing.assert_allclose(two[1], one[1], rtol=1e-4, atol=1e-6, err_msg=name)

def curve(strategy):
    with strategy.scope():
        model = lipkit.Sequential([keras.Input((4,)), keras.layers.Dense(4, "relu"),
                                   keras.layers.Dense(4)])
        model.compile(keras.optimizers.SGD(0.1), losses.MulticlassSoftHKR(2, 0.3))
    model.set_weights([np.eye(4), np.zeros(4)] * 2)
    history = model.fit(f, c, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
    return [*history, model.loss.mean]

one, two = map(curve, strategies)
np.testing.assert_allclose(two, one, rtol=1e-5)
assert np.ptp(one[:3]) > 1e-2 and one[3] > 0.3
"""


def test_replicas_have_the_class_means_of_the_global_batch(python):
    if keras.backend.backend() != "tensorflow":
        return  # `tf.distribute` is TensorFlow's
    result = python(REPLICAS, KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="2")
    assert result.returncode == 0, result.stderr[-2000:]
