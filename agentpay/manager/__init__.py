"""The public face: the manager for the operator's code, the handle for agents."""

from agentpay.manager.agent import AgentHandle
from agentpay.manager.manager import PaymentManager
from agentpay.manager.operations import SystemHealth

__all__ = ["AgentHandle", "PaymentManager", "SystemHealth"]
