"""The typed agent tools: one catalog, from which MCP, LangChain and the committed schemas are rendered."""

from agentpay_tools.boundary import ToolResult, run
from agentpay_tools.catalog import CATALOG
from agentpay_tools.handle import Handle
from agentpay_tools.spec import AnySpec, Hints, Spec

__all__ = ["CATALOG", "AnySpec", "Handle", "Hints", "Spec", "ToolResult", "run"]
