"""The HTTP server: OpenAI's API in front of the specialists of a home.

It parses, decides who may do what, and shapes answers. It knows nothing of tensors: `pipeline.service` has
the models.
"""
