// SPDX-License-Identifier: MIT
pragma solidity 0.8.26;

// A token for tests, with the quirks of USDT on Ethereum: `transfer` returns nothing, a fee may be taken out of each
// transfer, and the owner may block an address. The decimals are chosen when it is made.
contract TestUSDT {
    string public constant name = "Test Tether USD";
    string public constant symbol = "USDT";
    uint8 public immutable decimals;
    address public immutable owner;
    uint256 public totalSupply;
    uint256 public basisPointsRate;
    mapping(address => uint256) public balanceOf;
    mapping(address => bool) public isBlackListed;

    event Transfer(address indexed from, address indexed to, uint256 value);

    constructor(uint8 places, uint256 supply) {
        decimals = places;
        owner = msg.sender;
        totalSupply = supply;
        balanceOf[msg.sender] = supply;
        emit Transfer(address(0), msg.sender, supply);
    }

    function setFee(uint256 basisPoints) external {
        require(msg.sender == owner);
        basisPointsRate = basisPoints;
    }

    function setBlackListed(address account, bool blocked) external {
        require(msg.sender == owner);
        isBlackListed[account] = blocked;
    }

    function transfer(address to, uint256 value) external {
        require(!isBlackListed[msg.sender]);
        _move(msg.sender, to, value);
    }

    // Two transfers to one recipient in one transaction: two logs that only their index tells apart.
    function transferTwice(address to, uint256 value) external {
        _move(msg.sender, to, value);
        _move(msg.sender, to, value);
    }

    function _move(address from, address to, uint256 value) private {
        require(balanceOf[from] >= value);
        uint256 fee = value * basisPointsRate / 10000;
        balanceOf[from] -= value;
        balanceOf[to] += value - fee;
        emit Transfer(from, to, value - fee);
        if (fee > 0) {
            balanceOf[owner] += fee;
            emit Transfer(from, owner, fee);
        }
    }
}

// A contract that is no token.
contract NoToken {
    uint256 public answer = 42;
}
