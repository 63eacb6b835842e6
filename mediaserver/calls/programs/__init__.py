"""The shipped call programs, one file each, found by name from the routing file. They use nothing but `CallControl`."""
