"""Gradient methods: from the tasks' gradients of the shared body to the one direction it takes."""
