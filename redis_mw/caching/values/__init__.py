"""The data cache: values of any kind under keys of the application's own."""
