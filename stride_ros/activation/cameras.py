"""Tell apart the images of several cameras on one topic by their clocks, and follow one of the cameras."""

from __future__ import annotations

from dataclasses import dataclass

from stride_ros.activation.sampling import NANOSECONDS, REORDER_TOLERANCE_NS

_TOLERANCE = NANOSECONDS // 2  # a stamp this far from what a clock should show may still belong to that clock
_PATIENCE = 5 * NANOSECONDS  # plus three periods; without images for longer, the followed camera is dropped
_MAX_CAMERAS = 4
_USUAL_STEP = 1.5  # a step between a camera's stamps of up to this many times the previous one skips no image


@dataclass
class _Camera:
    stamp: int  # ns, of its newest image
    received: int  # ns
    period: int = 0  # ns between receiving the newest two
    step: int = 0  # ns between their stamps; 0: not known
    is_beside: bool = False  # whether it kept its pace while another camera sent images

    def distance(self, stamp: int, received: int) -> int:
        """Distance (ns) of a stamp from what this camera's clock should show at the time of receipt."""
        return abs((stamp - self.stamp) - (received - self.received))

    def may_show(self, stamp: int, received: int) -> bool:
        # A bag may be played faster or slower than in real time, and images may be held up. The start of a
        # looping bag is further away than this: it is back by the bag's whole length.
        return self.distance(stamp, received) < _TOLERANCE + (received - self.received)

    def show(self, stamp: int, received: int, beside: bool) -> None:
        """Take this camera's next image; `beside`: the previous image came from another clock."""
        step = stamp - self.stamp
        # A single wrong stamp takes the place of one of this camera's images, whose next step is then longer.
        if beside and 0 < step <= _USUAL_STEP * self.step:
            self.is_beside = True
        self.period, self.step = received - self.received, max(step, 0)
        self.stamp, self.received = stamp, received


class Cameras:
    """Decides which images belong to the followed camera: all of them while there is only one clock.

    Time that goes back once means a looping bag or a clock that was set, and a single stamp out of line is a
    wrong one. Two clocks that each keep their own pace while images of the other arrive are two cameras:
    restarting with each image would never reach a decision. Neither recordings nor the middleware's Python
    API tell who sent a message, so only the stamps remain.
    """

    def __init__(self) -> None:
        self._cameras: list[_Camera] = []
        self._last: _Camera | None = None  # the camera of the last image
        self._followed: _Camera | None = None
        self._newest: int | None = None  # stamp of the newest image used since time went back
        self.is_switch = False  # whether the last accepted image came from another camera than the one before

    @property
    def differ(self) -> bool:
        """Whether images from several clocks arrive, of which one is followed."""
        return self._followed is not None

    def reset(self) -> None:
        """Forget all cameras: follow whatever comes next."""
        self._cameras, self._last, self._followed, self._newest = [], None, None, None

    def is_back(self, stamp: int) -> bool:
        """Whether a stamp (ns) is older than the newest used one by more than reordering explains."""
        return self._newest is not None and stamp - self._newest <= -REORDER_TOLERANCE_NS

    def accepts(self, stamp: int, received: int) -> bool:
        """Whether to use an image with this stamp, received at that time on the robot's clock (ns)."""
        followed, self.is_switch = self._followed, False
        if followed is not None and received - followed.received > _PATIENCE + 3 * followed.period:
            self.reset()
            followed, self.is_switch = None, True
        went_back = self.is_back(stamp)
        before = self._last
        camera = self._camera_of(stamp, received, went_back and followed is None)
        self._last = camera
        if followed is None and sum(known.is_beside for known in self._cameras) >= 2:
            # Prefer stamps that agree with the rest of the robot.
            followed = min(self._cameras, key=lambda known: abs(known.stamp - received))
            self._followed = followed
            self.is_switch = camera is followed and camera is not before
        if followed is not None and camera is not followed:
            return False
        self._newest = stamp if went_back or self._newest is None else max(self._newest, stamp)
        return True

    def _camera_of(self, stamp: int, received: int, is_other: bool) -> _Camera:
        """The camera that an image belongs to. `is_other`: not that of the last image."""
        known = [camera for camera in self._cameras if not (is_other and camera is self._last)]
        known = [camera for camera in known if camera.may_show(stamp, received)]
        if not known:
            camera = _Camera(stamp, received)
            self._cameras.append(camera)
            if len(self._cameras) > _MAX_CAMERAS:
                others = [old for old in self._cameras if old is not self._followed]
                self._cameras.remove(min(others, key=lambda old: old.received))
            return camera
        camera = min(known, key=lambda near: near.distance(stamp, received))
        camera.show(stamp, received, beside=self._last is not camera)
        return camera
