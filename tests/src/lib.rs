//! Black-box tests: images are built, booted and used from outside.
