from payonce.cli import main

main()
