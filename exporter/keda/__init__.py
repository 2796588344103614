"""The external scaler for KEDA: a gRPC server that answers with the advice of the board.

`service` starts and stops it, and imports grpcio only then, because the package is optional. `rpc`
runs the server on an event loop in its own thread. `answers` has the calls, `messages` what they
carry, `certificates` the TLS files.

A call of KEDA has no deadline, so every call is answered from memory, on the event loop.
"""
