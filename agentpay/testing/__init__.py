"""For the tests of providers and of applications: a contract that each provider passes, and fakes that enforce rules.

from agentpay.testing import ProviderContract

class TestMyProvider(ProviderContract):
    @pytest.fixture
    def provider(self):
        provider = MyProvider(…)
        yield provider
        provider.close()
"""

from agentpay.testing.contract import ProviderContract, SignedWebhook
from agentpay.testing.steps import RecordedStep, RecordingSteps, check_json

__all__ = ["ProviderContract", "RecordedStep", "RecordingSteps", "SignedWebhook", "check_json"]
