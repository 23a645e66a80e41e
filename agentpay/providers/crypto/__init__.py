"""Stablecoins on an Ethereum-style chain: collected by deposits that are watched, sent by signed transfers.

| module | holds |
|---|---|
| `config` | what the operator says: chain, tokens, confirmations, endpoints, deposits, gas |
| `rpc` | several endpoints behind one reader, whose block number only goes forward |
| `libraries` | web3 and eth-account, loaded without what they do to the process |
| `token` | ERC-20: its Transfer logs, and the one call that can be built, `transfer` |
| `matching` | pure: which transfers pay a deposit, what is left over, what a reorganisation takes back |
| `deposits` | the deposits that were handed out: an address or an amount of their own |
| `watching` | reads the chain's logs into the books, and evaluates the deposits anew |
| `signers` | who signs: a key file, a secret of the environment, an object |
| `sending` | one nonce a transfer; its signed bytes are stored first, and only they are sent again |
| `outgoing` | what became of a transfer, by what all endpoints show |
| `news` | what the books tell the engine |
| `tables`, `queries` | the books, in the engine's own database |
| `provider` | all of it as a payment provider |

Needs the extra `crypto`. Nothing of web3 is imported before a provider is made.
"""
