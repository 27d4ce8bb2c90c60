#!/bin/sh
# Interesting is a module with the text.
grep -q "$1" "$2"
