"""Run a model on a board, and hold it against the host

`Device.open` compiles the bundle to C, builds a firmware around it, and starts it. `sim` is the firmware as a process
of this machine; `mps2-an500` in its place is a Cortex-M7 in QEMU, and an address such as `/dev/ttyACM0` a board on a
cable (which nobody has tried yet). It is asked for a result each 50 ms of the recording's time. The host computes the
same from the same events.
"""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import spedge
from spedge.device import Configuration
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference

bundle = Bundle.load("gestures-pico")
events = spedge.open("wave").events()

with spedge.Device.open("sim", bundle) as device:
    device.configure(Configuration(every_us=50_000, push=True, report_tokens=4096))
    device.send(spedge.evt2.encode_words(events))
    device.flush()
    results = device.take_results()
    on_device = device.tokens()
    print(device.stats().imbalance() or "every event is accounted for")

reference = Reference(bundle)
tokens, _ = reference.tokenize(events)
times = np.array([result.t for result in results])
device_logits = np.stack([result.logits for result in results])
host_logits = np.stack([reference.logits(tokens.between(0, result.newest)) for result in results])
print(f"{len(results)} results, {len(on_device)} tokens on the device and {len(tokens)} on the host")
print(f"the logits differ by {np.abs(device_logits - host_logits).max():.1e} at most")

figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
for index in np.argsort(host_logits[-1])[-3:]:
    (line,) = axis.plot(times / 1000, host_logits[:, index], label=f"{bundle.labels[index]}, host")
    axis.plot(times / 1000, device_logits[:, index], "o", color=line.get_color(), label=f"{bundle.labels[index]}, sim")
axis.set_xlabel("ms of the recording")
axis.set_ylabel("logit")
axis.legend(ncols=3, fontsize=8)
figure.savefig("run_on_a_board.png", dpi=100)
