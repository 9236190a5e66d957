"""azubi trains the last layers of an open model on a company's own work, and proves what it learned."""

__version__ = "0.1.0"
