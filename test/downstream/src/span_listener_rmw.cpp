// Prints the spans on activation/span until one ends. The same as span_listener.cpp with rmw alone.
#include <cstdlib>

#include "print_span.hpp"
#include "rcutils/allocator.h"
#include "rcutils/strdup.h"
#include "rmw/error_handling.h"
#include "rmw/rmw.h"
#include "rosidl_typesupport_cpp/message_type_support.hpp"

using stride_ros::msg::ActivationSpan;

static void check(bool success)
{
  if (!success) {
    std::fprintf(stderr, "%s\n", rmw_get_error_string().str);
    std::exit(1);
  }
}

int main()
{
  const auto allocator = rcutils_get_default_allocator();
  rmw_init_options_t options = rmw_get_zero_initialized_init_options();
  check(rmw_init_options_init(&options, allocator) == RMW_RET_OK);
  options.instance_id = 1;
  options.enclave = rcutils_strdup("/", allocator);
  const char * domain = std::getenv("ROS_DOMAIN_ID");
  options.domain_id = domain ? std::strtoul(domain, nullptr, 10) : 0;
  options.discovery_options.automatic_discovery_range = RMW_AUTOMATIC_DISCOVERY_RANGE_LOCALHOST;
  rmw_context_t context = rmw_get_zero_initialized_context();
  check(rmw_init(&options, &context) == RMW_RET_OK);

  rmw_node_t * node = rmw_create_node(&context, "span_listener_cpp", "/");
  check(node);
  rmw_qos_profile_t qos = rmw_qos_profile_default;
  qos.durability = RMW_QOS_POLICY_DURABILITY_TRANSIENT_LOCAL;
  const auto subscription_options = rmw_get_default_subscription_options();
  const auto * type = rosidl_typesupport_cpp::get_message_type_support_handle<ActivationSpan>();
  rmw_subscription_t * subscription =
    rmw_create_subscription(node, type, "/activation/span", &qos, &subscription_options);
  check(subscription);
  rmw_wait_set_t * wait_set = rmw_create_wait_set(&context, 1);
  check(wait_set);

  ActivationSpan span;
  while (span.state != ActivationSpan::OFFSET) {
    void * waiting[] = {subscription->data};
    rmw_subscriptions_t subscriptions{1, waiting};
    check(rmw_wait(&subscriptions, nullptr, nullptr, nullptr, nullptr, wait_set, nullptr) == RMW_RET_OK);
    bool taken = false;
    check(rmw_take(subscription, &span, &taken, nullptr) == RMW_RET_OK);
    if (taken) {
      print_span(span);
    }
  }

  check(rmw_destroy_wait_set(wait_set) == RMW_RET_OK);
  check(rmw_destroy_subscription(node, subscription) == RMW_RET_OK);
  check(rmw_destroy_node(node) == RMW_RET_OK);
  check(rmw_shutdown(&context) == RMW_RET_OK);
  check(rmw_context_fini(&context) == RMW_RET_OK);
  check(rmw_init_options_fini(&options) == RMW_RET_OK);
  return 0;
}
