"""From the graph to a program: kernel calls on buffers that are placed in one arena."""
