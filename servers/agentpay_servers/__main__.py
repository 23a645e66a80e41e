"""`python -m agentpay_servers` is the command `agentpay`."""

from agentpay_servers.main import main

if __name__ == "__main__":
    main()
