# Regression tests of `alphazero gtp othello`, in the format of GNU Go and gogui-regress:
# a command with an id, then the pattern that its answer has to match.

1 protocol_version
#? [2]

2 name
#? [AlphaZero]

3 known_command genmove
#? [true]

4 known_command kgs-time_settings
#? [false]

boardsize 8
clear_board
komi 0

10 play b d3
#? []

11 play w c5
#? []

12 reg_genmove b
#? [B6|C6|D6|E6|F6]

13 genmove b
#? [B6|C6|D6|E6|F6]

undo
undo
undo

20 reg_genmove b
#? [D3|C4|F5|E6]

boardsize 6
clear_board

30 genmove b
#? [C2|B3|E4|D5]

31 genmove w
#? [!PASS]
