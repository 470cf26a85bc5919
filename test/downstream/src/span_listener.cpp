// Prints the spans on activation/span until one ends.
#include <memory>

#include "print_span.hpp"
#include "rclcpp/rclcpp.hpp"

class SpanListener : public rclcpp::Node
{
public:
  SpanListener()
  : Node("span_listener_cpp")
  {
    subscription_ = create_subscription<stride_ros::msg::ActivationSpan>(
      "activation/span", rclcpp::QoS(10).reliable().transient_local(),
      [](stride_ros::msg::ActivationSpan::ConstSharedPtr span) {
        print_span(*span);
        if (span->state == stride_ros::msg::ActivationSpan::OFFSET) {
          rclcpp::shutdown();
        }
      });
  }

private:
  rclcpp::Subscription<stride_ros::msg::ActivationSpan>::SharedPtr subscription_;
};

int main(int argc, char ** argv)
{
  rclcpp::init(argc, argv);
  rclcpp::spin(std::make_shared<SpanListener>());
  return 0;
}
