"""A subscription to images that follows the quality of service offered by its publishers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSDurabilityPolicy, QoSPolicyKind, QoSReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

from stride_ros.errors import ConfigError
from stride_ros.nodes.publishers import (
    RAW,
    UNNAMED_INPUT,
    InputSettings,
    describe_other_type,
    publishers_of,
    type_name,
)
from stride_ros.nodes.qos import image_qos

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.qos import QoSProfile

_OVERLAP = 5.0  # s; how long the previous subscription is kept when the new one receives nothing
_SETTLING = 1.0  # s in which a new subscription may deliver images a second time
_RECENT = 64  # images that are remembered for that
_VIDEO_DEPTH = 60  # compressed images may be video packets, of which none may be lost
_CHOICES = {
    QoSPolicyKind.RELIABILITY: ("reliable", "best_effort", "system_default"),
    QoSPolicyKind.DURABILITY: ("volatile", "transient_local", "system_default"),
    QoSPolicyKind.HISTORY: ("keep_last", "keep_all", "system_default"),
    QoSPolicyKind.DEPTH: (),
}


class ImageSubscription:
    """Reliable if all publishers are, transient local if all are; otherwise what matches all of them.

    The user's `qos_overrides.<topic>.subscription.*` take precedence, each for its policy. Messages stay
    serialised.
    """

    def __init__(
        self,
        node: Node,
        message_type: Any,
        topic: str,
        receive: Callable[[bytes], None],
        settings: InputSettings = UNNAMED_INPUT,
    ) -> None:
        """Subscribe with the QoS that the known publishers offer; errors name the `settings`.

        Raises ConfigError for a wrong override, or a topic of another type in the same process.
        """
        self._node = node
        self._type = message_type
        self._receive, self._settings = receive, settings
        self._name = topic
        self.topic = node.resolve_topic_name(topic)
        self._given = _given_policies(node, self.topic)
        self._subscription: Any = None
        self._former: Any = None  # the previous one, until the new one delivers
        self._made = float("-inf")
        self._recent: deque[tuple[Any, float]] = deque(maxlen=_RECENT)  # when sent, and delivered by which
        self._subscribe(self._wanted())

    @property
    def may_replay(self) -> bool:
        """Whether older images may arrive: a new subscription receives what publishers have stored."""
        return self._is_settling and self.qos.durability == QoSDurabilityPolicy.TRANSIENT_LOCAL

    @property
    def _is_settling(self) -> bool:
        return self._renewed and time.monotonic() - self._made < _SETTLING

    def follow(self) -> bool:
        """Resubscribe if the publishers' offer has changed; return whether it had."""
        if self._former is not None and time.monotonic() - self._made > _OVERLAP:
            self._drop_former()
        wanted = self._wanted()
        if _policies(wanted) == self._asked:
            return False
        self._subscribe(wanted)
        return True

    def destroy(self) -> None:
        self._drop_former()
        self._node.destroy_subscription(self._subscription)

    def _wanted(self) -> QoSProfile:
        publishers = publishers_of(self._node, self.topic, type_name(self._type))
        if not publishers and self._subscription is not None:
            return self._requested  # a restarting camera will offer the same again
        return image_qos([publisher.qos_profile for publisher in publishers])

    def _subscribe(self, profile: QoSProfile) -> None:
        self._drop_former()
        self._former, self._renewed = self._subscription, self._subscription is not None
        self._requested, self._asked = profile, _policies(profile)
        self.qos = image_qos([profile])  # rclpy writes the user's overrides into it
        if type_name(self._type) != RAW:
            self.qos.depth = _VIDEO_DEPTH
        self._made = time.monotonic()
        # rclpy declares a parameter for each policy and keeps the first subscription's value in it, so only
        # the policies that the user set are listed.
        overriding = QoSOverridingOptions(self._given)
        try:
            self._subscription = self._node.create_subscription(
                self._type,
                self._name,
                self._receiver(),
                self.qos,
                qos_overriding_options=overriding,
                raw=True,
            )
        except Exception as error:  # Fast DDS allows one type per topic in a process
            if reason := describe_other_type(self._node, self.topic, type_name(self._type), self._settings):
                raise ConfigError(f"{reason}.") from error
            raise

    def _receiver(self) -> Callable[[bytes, Any], None]:
        made = self._made

        def receive(data: bytes, info: Any) -> None:
            if made == self._made:
                self._drop_former()  # the new one is connected
            # When it was sent; if the middleware does not tell, the image's own stamp, after 4 bytes.
            sent = info["source_timestamp"] or bytes(data[4:12])
            if self._is_settling and any(sent == known for known, by in self._recent if by != made):
                return  # delivered before
            self._recent.append((sent, made))
            self._receive(data)

        return receive

    def _drop_former(self) -> None:
        if self._former is not None:
            self._node.destroy_subscription(self._former)
            self._former = None


def _policies(profile: QoSProfile) -> tuple[QoSReliabilityPolicy, QoSDurabilityPolicy]:
    return profile.reliability, profile.durability


def _given_policies(node: Node, topic: str) -> list[QoSPolicyKind]:
    """The policies that the user set by parameters. Raises ConfigError for an invalid value."""
    from rcl_interfaces.msg import ParameterDescriptor

    given = []
    for kind, choices in _CHOICES.items():
        name = f"qos_overrides.{topic}.subscription.{kind.name.lower()}"
        known = node.has_parameter(name)  # declared by an earlier subscription
        if not known:
            node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
        value = node.get_parameter(name).value
        if not known:
            node.undeclare_parameter(name)
        if value is None:
            continue
        if choices and str(value).lower() not in choices:
            raise ConfigError(f"Parameter '{name}' cannot be {value!r}; use one of {', '.join(choices)}.")
        if not choices and (type(value) is not int or value < 1):
            raise ConfigError(f"Parameter '{name}' cannot be {value!r}; use a number of images, 1 or more.")
        given.append(kind)
    return given
