#!/bin/sh
# Packages do not start daemons here: nothing would start them again after the
# next boot. Services belong into containers; see "Services" in the guide.
exit 101
