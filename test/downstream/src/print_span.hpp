// Prints a span as a line of words, text last.
#pragma once

#include <cstdio>

#include "stride_ros/msg/activation_span.hpp"

inline void print_span(const stride_ros::msg::ActivationSpan & span)
{
  std::printf(
    "id=%llu state=%d start=%d.%09u end=%d.%09u onset=%d.%09u confidence=%.2f respond=%d watch=%s frame=%s %s\n",
    static_cast<unsigned long long>(span.span_id), span.state, span.start.sec, span.start.nanosec,
    span.end.sec, span.end.nanosec, span.onset.sec, span.onset.nanosec,
    static_cast<double>(span.confidence), span.respond, span.watch.c_str(),
    span.header.frame_id.c_str(), span.query.c_str());
  std::fflush(stdout);
}
