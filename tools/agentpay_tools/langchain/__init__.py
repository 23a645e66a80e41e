"""The tools for LangChain, from the same catalog and behind the same gate. Needs the extra `langchain`.

from agentpay_tools.langchain import AgentPayToolkit

tools = AgentPayToolkit(manager, agent="support-bot").get_tools()
"""

from agentpay_tools.langchain.identity import AgentFrom
from agentpay_tools.langchain.tool import AgentPayTool, answer_of
from agentpay_tools.langchain.toolkit import AgentPayToolkit

__all__ = ["AgentFrom", "AgentPayTool", "AgentPayToolkit", "answer_of"]
