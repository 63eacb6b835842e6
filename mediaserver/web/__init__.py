"""The pages for browsers: the bundle that `web/` builds, and how each file of it is to be served."""
