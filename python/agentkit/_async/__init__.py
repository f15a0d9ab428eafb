"""The API in asynchronous form, a module for each thing that it is about."""
