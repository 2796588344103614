"""The controller of the command `scale`: follows the scaling advice by running a command."""
