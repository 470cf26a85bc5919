// Compiles when the headers of all interfaces are installed and complete.
#include "stride_ros/action/describe.hpp"
#include "stride_ros/action/wait_for_event.hpp"
#include "stride_ros/msg/activation_span.hpp"
#include "stride_ros/msg/activation_window.hpp"
#include "stride_ros/msg/commentary.hpp"
#include "stride_ros/msg/event_record.hpp"
#include "stride_ros/msg/watch.hpp"
#include "stride_ros/msg/watch_spec.hpp"
#include "stride_ros/msg/watches.hpp"
#include "stride_ros/srv/add_watch.hpp"
#include "stride_ros/srv/find_events.hpp"
#include "stride_ros/srv/remove_watch.hpp"

static_assert(stride_ros::msg::ActivationSpan::ONSET == 0);
static_assert(stride_ros::msg::Commentary::SKIPPED == 2);
