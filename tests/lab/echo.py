# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Rota authors
"""A TCP server that greets with a name and sends back what it is sent: echo.py PORT NAME."""

import asyncio
import sys


async def main(port, name):
    async def serve(reader, writer):
        writer.write(f"{name}\n".encode())
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    # None: both families, each on its own socket.
    server = await asyncio.start_server(serve, None, port, backlog=1024)
    await server.serve_forever()


asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
