"""Parameters of the nodes: one table a node, which describes, checks and documents them. Needs no ROS."""
